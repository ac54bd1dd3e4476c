//! Names of things in the pool. None is ever used twice in a supervisor's life, and none is a pid.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A numbered place in the pool, 0 … N-1; it outlives processes.
    Slot(u32)
);
id!(
    /// One process life in a slot.
    WorkerId(u64)
);
id!(
    /// All workers born of one plan; the first is 1.
    GenerationId(u64)
);
id!(
    /// One request of one caller, which gets one [`super::Verdict`].
    RequestId(u64)
);
