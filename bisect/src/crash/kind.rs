//! What kind of crash it is, in the words that the field uses.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What kind of crash it is. The names are those that syzbot's dashboards use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// The name, as it is serialized.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// Something that has no kind of its own.
    Unknown = "UNKNOWN",
    /// A sleeping function called, or a switch made, where sleeping is forbidden.
    AtomicSleep = "ATOMIC_SLEEP",
    /// `BUG_ON()` and what is like it.
    Bug = "BUG",
    /// The kernel died: an oops without a memory error of its own name, a panic.
    DoS = "DoS",
    /// Something does not go on: a stall, a lockup, a hung task.
    Hang = "HANG",
    /// KASAN: a free of what can't be freed.
    KasanInvalidFree = "KASAN-INVALID-FREE",
    /// KASAN: NULL dereferenced for reading.
    KasanNullRead = "KASAN-NULL-POINTER-DEREFERENCE-READ",
    /// KASAN: NULL dereferenced for writing.
    KasanNullWrite = "KASAN-NULL-POINTER-DEREFERENCE-WRITE",
    /// KASAN: a bad read that is no use after free.
    KasanRead = "KASAN-READ",
    /// KASAN: a bad write that is no use after free.
    KasanWrite = "KASAN-WRITE",
    /// KASAN: a read after free.
    KasanUseAfterFreeRead = "KASAN-USE-AFTER-FREE-READ",
    /// KASAN: a write after free.
    KasanUseAfterFreeWrite = "KASAN-USE-AFTER-FREE-WRITE",
    /// KASAN, otherwise.
    KasanUnknown = "KASAN-UNKNOWN",
    /// KCSAN: an assertion failed.
    KcsanAssert = "KCSAN-ASSERT",
    /// KCSAN: a data race.
    KcsanDataRace = "KCSAN-DATARACE",
    /// KCSAN, otherwise.
    KcsanUnknown = "KCSAN-UNKNOWN",
    /// KFENCE: a free of what can't be freed.
    KfenceInvalidFree = "KFENCE-INVALID-FREE",
    /// KFENCE: a canary was overwritten.
    KfenceMemoryCorruption = "KFENCE-MEMORY-CORRUPTION",
    /// KFENCE: a bad read that is no use after free.
    KfenceRead = "KFENCE-READ",
    /// KFENCE: a bad write that is no use after free.
    KfenceWrite = "KFENCE-WRITE",
    /// KFENCE: a read after free.
    KfenceUseAfterFreeRead = "KFENCE-USE-AFTER-FREE-READ",
    /// KFENCE: a write after free.
    KfenceUseAfterFreeWrite = "KFENCE-USE-AFTER-FREE-WRITE",
    /// KFENCE, otherwise.
    KfenceUnknown = "KFENCE-UNKNOWN",
    /// KMSAN: uninitialized memory left the kernel.
    KmsanInfoLeak = "KMSAN-INFO-LEAK",
    /// KMSAN: an uninitialized value was used.
    KmsanUninitValue = "KMSAN-UNINIT-VALUE",
    /// KMSAN: freed memory was used.
    KmsanUseAfterFreeRead = "KMSAN-USE-AFTER-FREE-READ",
    /// KMSAN, otherwise.
    KmsanUnknown = "KMSAN-UNKNOWN",
    /// Memory that nothing points to any more.
    Leak = "LEAK",
    /// The locking rules were broken.
    Lockdep = "LOCKDEP",
    /// A page fault on a bad address.
    MemorySafetyBug = "MEMORY_SAFETY_BUG",
    /// A page fault near address 0.
    NullPointerDereference = "NULL-POINTER-DEREFERENCE",
    /// The kernel started again.
    Reboot = "REBOOT",
    /// A reference counter saturated, underflowed or was raised from zero.
    Refcount = "REFCOUNT_WARNING",
    /// The fuzzer itself failed.
    SyzFailure = "SYZ_FAILURE",
    /// Undefined behaviour.
    Ubsan = "UBSAN",
    /// `WARN_ON()` and what is like it.
    Warning = "WARNING",
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
