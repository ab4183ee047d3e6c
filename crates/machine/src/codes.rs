//! Enums whose numbers are durable and whose words are not.

/// An enum with a number and a sentence for each variant. The number goes into remembered answers, which are replicated
/// state; the sentence may change from release to release.
macro_rules! codes {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal => $words:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $(
                $(#[$vdoc])*
                #[doc = $words]
                $variant = $number,
            )+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub(crate) fn number(self) -> u32 {
                self as u32
            }

            pub(crate) fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $words,)+
                })
            }
        }
    };
}

pub(crate) use codes;
