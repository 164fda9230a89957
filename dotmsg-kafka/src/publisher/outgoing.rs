//! A record as librdkafka takes it, made when it is handed over: until then records are lent to nobody.

use dotmsg_core::backend::PublishRecord;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

/// librdkafka copies what it is lent here; the number comes back with the report.
pub(super) fn outgoing(record: &PublishRecord, number: usize) -> BaseRecord<'_, [u8], [u8], usize> {
    let message = &record.message;
    let mut out: BaseRecord<'_, [u8], [u8], usize> =
        BaseRecord::with_opaque_to(&record.topic, number);
    if let Some(partition) = record.partition {
        out = out.partition(i32::try_from(partition).unwrap_or(i32::MAX));
    }
    if let Some(key) = &message.key {
        out = out.key(key);
    }
    if let Some(payload) = &message.payload {
        out = out.payload(payload);
    }
    if message.timestamp.0 != 0 {
        out = out.timestamp(message.timestamp.0);
    }
    if !message.headers.is_empty() {
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
        for (name, value) in message.headers.iter() {
            headers = headers.insert(Header {
                key: name,
                value: value.map(|value| &value[..]),
            });
        }
        out = out.headers(headers);
    }
    out
}
