//! Metrics of an app as OpenTelemetry's SDK collects them.

use std::time::Duration;

use dotmsg::otel::Metrics;
use dotmsg::testing::TestApp;
use dotmsg::{App, Config, HandlerError, Json};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(Json(value): Json<u64>) -> Result<(), HandlerError> {
    tokio::time::sleep(Duration::from_millis(40)).await;
    match value {
        0 => Err(HandlerError::permanent("nothing").kind("empty")),
        _ => Ok(()),
    }
}

/// What was collected under a name, as text: the sums of counters and gauges, count and sum of histograms, by attributes.
fn collected(exporter: &InMemoryMetricExporter, name: &str) -> String {
    let finished = exporter.get_finished_metrics().unwrap();
    let last = finished.last().expect("something was collected");
    let mut metrics = last.scope_metrics().flat_map(|scope| scope.metrics());
    let found = metrics.find(|metric| metric.name() == name);
    let metric = found.unwrap_or_else(|| panic!("no {name}"));
    let attribute = |one: &opentelemetry::KeyValue| format!("{}={}", one.key, one.value);
    let mut lines: Vec<String> = match metric.data() {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|point| {
                let mut of: Vec<_> = point.attributes().map(attribute).collect();
                of.sort();
                format!("{} {}", of.join(" "), point.value())
            })
            .collect(),
        AggregatedMetrics::F64(MetricData::Gauge(gauge)) => gauge
            .data_points()
            .map(|point| format!("{}", point.value()))
            .collect(),
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
            .data_points()
            .map(|point| format!("{} in {:.2} s", point.count(), point.sum()))
            .collect(),
        other => panic!("{name}: {other:?}"),
    };
    lines.sort();
    lines.join("\n")
}

#[test]
fn figures_are_instruments_with_their_attributes() {
    dotmsg::testing::run(async {
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.clone())
            .build();
        let app: App = App::with_config(Config::new()).exporter(Metrics::new(&provider));
        let mut app = TestApp::start(app.handler(bill)).await;
        for value in [0_u64, 1, 2] {
            app.publish("orders", &value).key(value.to_string()).await;
        }
        app.run_until_idle().await;
        provider.force_flush().unwrap();
        let of = |name| collected(&exporter, name);
        let route = "dotmsg.handler=bill messaging.consumer.group.name=billing messaging.destination.name=orders";
        assert_eq!(
            of("messaging.client.consumed.messages"),
            format!("{route} 3")
        );
        assert_eq!(
            of("dotmsg.dead_letters"),
            "dotmsg.handler=bill error.type=empty messaging.consumer.group.name=billing messaging.destination.name=orders 1"
        );
        assert_eq!(of("messaging.process.duration"), "3 in 0.12 s");
        assert_eq!(of("dotmsg.ready"), "1");
        app.shutdown().await;
        provider.force_flush().unwrap();
        assert_eq!(of("dotmsg.ready"), "0");
    });
}
