//! The client that asks the coordinators of groups.
//!
//! Not the administrator, for two faults of librdkafka 2.12.1. When a coordinator has moved, librdkafka also tells the client's own
//! group, without a look whether it has one, and an administrator has none. And a request that times out while its coordinator is
//! not reached is destroyed twice once it is reached, which ends the process (librdkafka #4605). So librdkafka is given far more
//! time than is waited here, and a client whose answer did not come is destroyed, with all that it still waits for, and replaced.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg_core::error::Result;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::context::Context;
use crate::lock;
use crate::patience::{of, patiently};
use crate::settings::Settings;

/// Asks coordinators. Its client is made when it is needed.
#[derive(Default)]
pub(super) struct Asker {
    client: Mutex<Option<Arc<BaseConsumer<Context>>>>,
}

impl Asker {
    /// Asks until there is an answer. Blocks its thread.
    ///
    /// # Errors
    /// What befell the request.
    pub(super) fn ask<T>(
        &self,
        settings: &Settings,
        operation: &'static str,
        call: impl Fn(&BaseConsumer<Context>, Duration) -> Result<T, Code>,
    ) -> Result<T> {
        patiently(operation, |within| {
            let client = self.client(settings)?;
            // What it has to say meanwhile, such as that a broker is gone, would pile up.
            while client.poll(Duration::ZERO).is_some() {}
            let answer = call(&client, within);
            if matches!(answer, Err(Code::OperationTimedOut)) {
                self.let_go(&client);
            }
            answer
        })
    }

    fn client(&self, settings: &Settings) -> Result<Arc<BaseConsumer<Context>>, Code> {
        let mut client = lock(&self.client);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let mut config = settings.reader();
        config.remove("debug").set_log_level(RDKafkaLogLevel::Emerg);
        let made = config.create_with_context(Context::default()).map_err(of)?;
        Ok(Arc::clone(client.insert(Arc::new(made))))
    }

    /// The next one who asks gets another client. This one is destroyed when nobody asks with it any more.
    fn let_go(&self, gone: &Arc<BaseConsumer<Context>>) {
        lock(&self.client).take_if(|client| Arc::ptr_eq(client, gone));
    }
}
