//! Seeded faults of positions, one at a time, for the model: each must be found by the rule named for it.
//! Without the cargo feature `mutants` no fault can be switched on.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {
        /// A fault that the model can seed into [`Positions`](super::Positions).
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Mutant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Mutant {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The real bug or the reason behind the fault.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

mutants! {
    // [P1]
    /// Clients without KIP-320: a new leader is read from where the one before was left.
    DoubtsNothing
    // [P2]
    /// What was fetched from the leader before is returned after the new one is known.
    FetchedKept
    // [P7]
    /// A leader's answer is believed although a newer leader is known.
    FormerLeaderBelieved
    // [P7]
    /// An offset that was listed before a seek, or under an earlier ownership, moves the position.
    LateOffsetBelieved
}

impl Mutant {
    /// Whether this fault is the seeded one.
    #[must_use]
    pub fn is(self, seeded: Option<Self>) -> bool {
        cfg!(feature = "mutants") && seeded == Some(self)
    }
}
