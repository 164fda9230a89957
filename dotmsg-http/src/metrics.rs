//! The figures of an app as OpenMetrics text.

use std::borrow::Cow;
use std::fmt;

use dotmsg_core::app::{AppHandle, FIGURES, Figure, FigureKind, FigureValue};
use dotmsg_core::clock::{Clock, SystemClock, Timestamp};
use dotmsg_core::metrics::{BOUNDS_SECONDS, HistogramSnapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// What `/metrics` answers, for a server of your own. Dots in names become underscores, and units in seconds end them.
#[must_use]
pub fn metrics_text(app: &AppHandle) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(app.clone())));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    text
}

#[derive(Debug)]
struct Figures(AppHandle);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = SystemClock.now();
        for figure in FIGURES {
            let unit = (figure.unit == "s").then_some(Unit::Seconds);
            let kind = match figure.kind() {
                FigureKind::Counter => MetricType::Counter,
                FigureKind::Gauge => MetricType::Gauge,
                FigureKind::Histogram => MetricType::Histogram,
            };
            let name = underscored(figure.name);
            let metric = encoder.encode_descriptor(&name, figure.help, unit.as_ref(), kind)?;
            self.routes(figure, now, metric)?;
        }
        Ok(())
    }
}

impl Figures {
    fn routes(
        &self,
        figure: &Figure,
        now: Timestamp,
        mut metric: MetricEncoder<'_>,
    ) -> fmt::Result {
        let mut result = Ok(());
        for route in self.0.routes() {
            let own = route.attributes();
            figure.read(route, now, &mut |attribute, value| {
                let own = own
                    .iter()
                    .map(|(name, value)| (underscored(name), value.as_str()));
                let other = attribute
                    .as_ref()
                    .map(|one| (underscored(one.name), one.value.as_str()));
                let labels: Vec<(Cow<'_, str>, &str)> = own.chain(other).collect();
                result = result.and_then(|()| one(metric.encode_family(&labels)?, &value));
            });
        }
        result
    }
}

fn one(mut metric: MetricEncoder<'_>, value: &FigureValue) -> fmt::Result {
    match value {
        FigureValue::Count(count) => metric.encode_counter::<NoLabelSet, u64, u64>(count, None),
        FigureValue::Now(value) => metric.encode_gauge(value),
        FigureValue::Durations(durations) => histogram(metric, durations),
    }
}

fn histogram(mut metric: MetricEncoder<'_>, durations: &HistogramSnapshot) -> fmt::Result {
    let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(durations.buckets).collect();
    metric.encode_histogram::<NoLabelSet>(durations.sum_seconds, durations.count(), &buckets, None)
}

fn underscored(name: &str) -> Cow<'_, str> {
    name.replace('.', "_").into()
}
