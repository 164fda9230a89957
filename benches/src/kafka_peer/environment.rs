//! What the environment says: the cluster, the topic, how many messages.

/// The variables, read.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// `host:port[,host:port…]`.
    pub(crate) boot: String,
    pub(crate) topic: String,
    pub(crate) group: String,
    /// Messages to handle.
    pub(crate) messages: u64,
    /// Handlers at once, where it is said.
    pub(crate) concurrency: Option<usize>,
    /// Where `w4` publishes to.
    out_topic: Option<String>,
}

impl Environment {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// A variable that is missing, or is not the number it should be.
    pub(crate) fn read() -> Result<Self, String> {
        Ok(Self {
            boot: text("BOOT").unwrap_or_else(|| "127.0.0.1:9092".to_owned()),
            topic: text("TOPIC").ok_or("TOPIC is not set: the topic to read")?,
            group: text("GROUP_ID").unwrap_or_else(|| "bench".to_owned()),
            messages: number("N")?.ok_or("N is not set: how many messages to handle")?,
            concurrency: number("CONCURRENCY")?,
            out_topic: text("OUT_TOPIC"),
        })
    }

    /// Where `w4` publishes to.
    ///
    /// # Errors
    /// When it is not said.
    pub(crate) fn out_topic(&self) -> Result<&str, String> {
        let missing = "OUT_TOPIC is not set: the topic that w4 publishes to";
        Ok(self.out_topic.as_deref().ok_or(missing)?)
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>, String> {
    let parse = |text: String| {
        let number = text.replace('_', "").parse();
        number.map_err(|_| format!("{name}={text} is not a number"))
    };
    text(name).map(parse).transpose()
}
