//! The figures of an app as instruments of OpenTelemetry.
//!
//! Counters and gauges are observed when the SDK collects them, so they cost no message anything. Its histograms take durations
//! one by one: each that is measured is recorded when it is, as often as it counts.

use std::time::Duration;

use dotmsg_core::app::{
    AppHandle, Exporter, FIGURES, Figure, FigureKind, FigureValue, RouteHandle,
};
use dotmsg_core::clock::{Clock, SystemClock};
use dotmsg_core::metrics::BOUNDS_SECONDS;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};

use crate::names;

/// Metrics of an app for OpenTelemetry, by the names and units of [`FIGURES`]; for [`App::exporter`](dotmsg_core::app::App::exporter).
///
/// ```
/// use dotmsg_core::app::{App, NoAdapters};
/// use dotmsg_core::config::Config;
/// use dotmsg_otel::Metrics;
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
///
/// let provider = SdkMeterProvider::default(); // a service has a periodic reader with an OTLP exporter here
/// let app: App<(), NoAdapters> = App::with_config(Config::new()).exporter(Metrics::new(&provider));
/// ```
///
/// Whatever the provider collects after the end of the app shows what was counted last; shut the provider down with the app.
#[derive(Clone, Debug)]
pub struct Metrics {
    meter: Meter,
}

impl Metrics {
    /// With a meter of this provider.
    #[must_use]
    pub fn new(provider: &impl MeterProvider) -> Self {
        let meter = provider.meter_with_scope(names::scope());
        Self { meter }
    }
}

impl Exporter for Metrics {
    fn start(&self, app: &AppHandle) {
        for figure in FIGURES {
            match figure.kind() {
                FigureKind::Counter => self.counter(figure, app.clone()),
                FigureKind::Gauge => self.gauge(figure, app.clone()),
                FigureKind::Histogram => self.histogram(figure, app),
            }
        }
    }
}

impl Metrics {
    fn counter(&self, figure: &'static Figure, app: AppHandle) {
        let instrument = self.meter.u64_observable_counter(figure.name);
        let instrument = instrument
            .with_unit(figure.unit)
            .with_description(figure.help);
        let observe = instrument.with_callback(move |observer| {
            each(figure, &app, |value, attributes| {
                if let FigureValue::Count(count) = value {
                    observer.observe(count, attributes);
                }
            });
        });
        observe.build();
    }

    fn gauge(&self, figure: &'static Figure, app: AppHandle) {
        let instrument = self.meter.f64_observable_gauge(figure.name);
        let instrument = instrument
            .with_unit(figure.unit)
            .with_description(figure.help);
        let observe = instrument.with_callback(move |observer| {
            each(figure, &app, |value, attributes| {
                if let FigureValue::Now(now) = value {
                    observer.observe(now, attributes);
                }
            });
        });
        observe.build();
    }

    fn histogram(&self, figure: &'static Figure, app: &AppHandle) {
        let instrument = self.meter.f64_histogram(figure.name);
        let instrument = instrument
            .with_unit(figure.unit)
            .with_description(figure.help);
        let histogram = instrument.with_boundaries(BOUNDS_SECONDS.to_vec()).build();
        for route in app.routes() {
            let histogram = histogram.clone();
            let attributes = attributes(route);
            let record = move |took: Duration, times| {
                for _ in 0..times {
                    histogram.record(took.as_secs_f64(), &attributes);
                }
            };
            if let Some(counted) = figure.histogram(route)
                && !counted.forward(record)
            {
                tracing::warn!(figure = figure.name, "shown by another exporter already");
            }
        }
    }
}

fn each(figure: &Figure, app: &AppHandle, mut observe: impl FnMut(FigureValue, &[KeyValue])) {
    let now = SystemClock.now();
    for route in app.routes() {
        let own = attributes(route);
        figure.read(route, now, &mut |attribute, value| {
            let mut all = own.clone();
            all.extend(attribute.map(|one| KeyValue::new(one.name, one.value)));
            observe(value, &all);
        });
    }
}

fn attributes(route: &RouteHandle) -> Vec<KeyValue> {
    let own = route.attributes().into_iter();
    own.map(|(name, value)| KeyValue::new(name, value))
        .collect()
}
