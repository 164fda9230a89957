//! Backends that break one promise each: the suite must find every one of them.
//!
//! A conformance suite that passes says something only if it can fail. Each test here names a fault and the case that finds it,
//! and one shows that without a fault the same cases pass.

mod backend;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use dotmsg_core::backend::{
    Backend, BoxFuture, Capability, History, KeyOrder, Ownership, PositionStore,
};
use dotmsg_core::error::Result;
use dotmsg_core::log::{LogBroker, LogOptions};
use dotmsg_testkit::{Connection, Fixture, Purpose, Suite};

use self::backend::{Broken, Fault};

/// The log in memory with a fault.
struct Faulty {
    log: LogBroker,
    backend: Arc<dyn Backend>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        let mut options = LogOptions::default();
        options.segment_bytes = 64 << 10;
        let log = LogBroker::memory(options);
        let backend = Arc::new(Broken {
            log: log.clone(),
            fault,
            published_to: Arc::new(log.clone()),
            asked_for: Arc::default(),
        });
        Self { log, backend }
    }

    fn minimum() -> Capability {
        let mut minimum = Capability::minimal();
        minimum.key_order = KeyOrder::Log;
        minimum.position = PositionStore::Record { max_bytes: 4_096 };
        minimum.ownership = Ownership::SingleMember;
        minimum.history = History::Retained;
        minimum.max_record_bytes = 1 << 20;
        minimum
    }

    async fn connect(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Connection::to(&self.backend)))
    }

    fn trim(&self) -> Option<BoxFuture<'_, Result<()>>> {
        Some(Box::pin(async move { self.log.apply_retention() }))
    }
}

/// The suite on the log with this fault.
macro_rules! suite {
    ($fault:expr) => {{
        struct It(Faulty);

        impl Fixture for It {
            async fn start(_: Purpose) -> Self {
                Self(Faulty::new($fault))
            }

            fn minimum(&self) -> Capability {
                Faulty::minimum()
            }

            async fn connect(&self) -> Result<Arc<dyn Backend>> {
                self.0.connect().await
            }

            fn trim<'a>(&'a self, _: &'a str, _: u32, _: u64) -> Option<BoxFuture<'a, Result<()>>> {
                self.0.trim()
            }
        }

        Suite::<It>::new()
    }};
}

/// One test per fault, and one that shows that without any fault the same cases pass.
macro_rules! is_found {
    ($($fault:ident => $theme:ident::$case:ident;)*) => {
        $(
            #[test]
            #[allow(non_snake_case, reason = "a test is named after its fault")]
            fn $fault() {
                let suite = suite!(Fault::$fault);
                let case = || suite.run(stringify!($theme), stringify!($case));
                let found = catch_unwind(AssertUnwindSafe(case)).is_err();
                assert!(found, "{:?} is not found", Fault::$fault);
            }
        )*

        #[test]
        fn without_a_fault_these_cases_pass() {
            let suite = suite!(Fault::None);
            $(suite.run(stringify!($theme), stringify!($case));)*
        }
    };
}

is_found! {
    DeclaresLess => publish::round_trip;
    DeclaresTransactions => refusal::declares_what_it_has;
    MakesNullEmpty => publish::round_trip;
    DropsNullHeaders => publish::round_trip;
    ConfirmsWhatItDrops => publish::many_publishers_lose_nothing;
    HashesInItsOwnWay => publish::to_where_the_key_belongs;
    PassesThePartitionerOver => publish::to_where_a_partitioner_says;
    AnswersOutOfOrder => publish::each_record_has_its_own_outcome;
    StartsPartitionsRunning => assignment::partitions_arrive_paused;
    IgnoresPause => assignment::pause_and_resume;
    IgnoresLimits => assignment::batches_keep_their_limits;
    SkipsARecord => assignment::batches_keep_their_limits;
    DeliversTwice => assignment::batches_keep_their_limits;
    ReversesBatches => assignment::groups_are_apart;
    ForgetsCommits => progress::is_read_back;
    CutsRecords => progress::is_whole;
    AcceptsAnyCommit => progress::of_a_former_owner_is_refused;
    AnswersOneOfMany => progress::has_an_outcome_per_partition;
    PassesOverWhatIsGone => retention::is_told_to_a_member;
    ReadsOverWhatIsGone => retention::is_told_to_a_reader;
    DropsWhatALimitLeaves => read::batches_keep_their_limits;
    LetsASecondMemberIn => refusal::of_a_second_member;
    MakesTopicsByTheWay => refusal::of_topics_that_do_not_exist;
    ListsEveryTopic => admin::topics_are_described;
    GivesUpAtOnce => sharing::a_revocation_waits_for_the_release;
    GivesBeforeTheRelease => sharing::a_revocation_waits_for_the_release;
    HandsAKeyToTwo => order::of_a_key;
    CommitsTooMuch => progress::remembers_out_of_order_completions;
    StampsTooEarly => retry::away_heads_survive_a_stop;
    StampsWhatItReads => progress::tells_the_lag;
    UnderstatesEnds => progress::tells_the_lag;
    LosesDeadLetters => dead_letters::many_at_once;
}
