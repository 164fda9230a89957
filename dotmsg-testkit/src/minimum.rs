//! What a backend declares, held against what it must.
//!
//! Each field is an order, from weaker to stronger; what must stay true is that a stronger declaration never falls short.

use std::fmt::Debug;

use dotmsg_core::backend::{
    Capability, History, KeyOrder, Ownership, Partitioning, PositionStore, Transactional,
};

/// In which fields `declared` is weaker than `minimum`, one line each; empty when it is at least as strong in all.
#[must_use]
pub fn shortfalls(declared: &Capability, minimum: &Capability) -> Vec<String> {
    let mut found = Vec::new();
    let mut least = |field: &str, enough: bool, declared: &dyn Debug, minimum: &dyn Debug| {
        if !enough {
            found.push(format!(
                "{field}: declares {declared:?}, and at least {minimum:?} is pinned"
            ));
        }
    };
    macro_rules! compare {
        ($($field:ident by $strength:expr),* $(,)?) => {
            $(least(
                stringify!($field),
                $strength(declared.$field) >= $strength(minimum.$field),
                &declared.$field,
                &minimum.$field,
            );)*
        };
    }
    compare! {
        key_order by key_order,
        position by position,
        ownership by ownership,
        history by history,
        transactions by transactions,
        partitioning by partitioning,
        max_record_bytes by |bytes: usize| bytes,
        max_topic_bytes by |bytes: usize| bytes,
        durable by |durable: bool| durable,
    }
    found
}

fn key_order(of: KeyOrder) -> u8 {
    match of {
        KeyOrder::None => 0,
        KeyOrder::Log => 1,
    }
}

fn position(of: PositionStore) -> usize {
    match of {
        PositionStore::None => 0,
        PositionStore::Record { max_bytes } => max_bytes.max(1),
    }
}

fn ownership(of: Ownership) -> u8 {
    match of {
        Ownership::SingleMember => 0,
        Ownership::Shared => 1,
    }
}

fn history(of: History) -> u8 {
    match of {
        History::None => 0,
        History::Retained => 1,
    }
}

fn transactions(of: Transactional) -> u8 {
    match of {
        Transactional::No => 0,
        Transactional::Yes => 1,
    }
}

fn partitioning(of: Partitioning) -> u8 {
    match of {
        Partitioning::Murmur2 => 0,
        Partitioning::Custom => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strong() -> Capability {
        let mut strong = Capability::minimal();
        strong.key_order = KeyOrder::Log;
        strong.position = PositionStore::Record { max_bytes: 4_096 };
        strong.ownership = Ownership::Shared;
        strong.history = History::Retained;
        strong.transactions = Transactional::Yes;
        strong.partitioning = Partitioning::Custom;
        strong.max_record_bytes = 1 << 20;
        strong.durable = true;
        strong
    }

    #[test]
    fn stronger_is_never_short() {
        let mut minimum = Capability::minimal();
        minimum.max_record_bytes = 1 << 20;
        assert_eq!(shortfalls(&strong(), &minimum), Vec::<String>::new());
        assert_eq!(shortfalls(&strong(), &strong()), Vec::<String>::new());
    }

    #[test]
    fn each_weaker_field_is_named() {
        let mut declared = Capability::minimal();
        declared.max_record_bytes = 1_000;
        declared.max_topic_bytes = 10;
        let found = shortfalls(&declared, &strong());
        let fields: Vec<&str> = found
            .iter()
            .filter_map(|line| line.split(':').next())
            .collect();
        let all = [
            "key_order",
            "position",
            "ownership",
            "history",
            "transactions",
            "partitioning",
            "max_record_bytes",
            "max_topic_bytes",
            "durable",
        ];
        assert_eq!(fields, all);
    }
}
