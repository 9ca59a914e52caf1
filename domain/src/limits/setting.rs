//! Limits by name, for whoever sets or shows them one by one.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::CellLimits;

macro_rules! settings {
    ($($(#[$doc:meta])* $setting:ident = $field:ident: $type:ty, at least $least:expr;)+) => {
        /// One limit of a cell, by the name of its field in [`CellLimits`].
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Setting {
            $($(#[$doc])* $setting,)+
        }

        impl Setting {
            /// All of them, in the order of their fields.
            pub const ALL: [Self; [$(Self::$setting),+].len()] = [$(Self::$setting),+];

            /// The field's name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$setting => stringify!($field),)+ }
            }

            /// The least value that anybody may set: with less no cell does anything.
            #[must_use]
            pub fn least(self) -> u64 {
                match self { $(Self::$setting => $least,)+ }
            }

            /// The most that the field can hold.
            #[must_use]
            pub fn most(self) -> u64 {
                match self { $(Self::$setting => u64::from(<$type>::MAX),)+ }
            }

            /// Its value among these.
            #[must_use]
            pub fn of(self, limits: &CellLimits) -> u64 {
                match self { $(Self::$setting => u64::from(limits.$field),)+ }
            }

            /// Gives it a value; one that the field cannot hold becomes the most that it can.
            pub fn put(self, limits: &mut CellLimits, value: u64) {
                match self {
                    $(Self::$setting => {
                        limits.$field = <$type>::try_from(value).unwrap_or(<$type>::MAX);
                    })+
                }
            }
        }
    };
}

settings! {
    /// Memory of the container. No engine makes one with less than 6 MiB.
    MemoryBytes = memory_bytes: u64, at least 16 * 1024 * 1024;
    /// Processes and threads. The runner alone has five or six.
    Pids = pids: u32, at least 8;
    /// Share of the processors. The kernel's shortest quota is a hundredth of one.
    CpuMillis = cpu_millis: u32, at least 10;
    /// Wall-clock time.
    WallMs = wall_ms: u64, at least 100;
    /// Results and events. The smallest result has a few hundred bytes.
    OutputBytesMax = output_bytes_max: u64, at least 1_024;
    /// Frames. A cell that stores one message and gives a result sends three.
    FramesMax = frames_max: u64, at least 10;
    /// Bytes of output that are kept.
    LogBytesMax = log_bytes_max: u64, at least 0;
    /// Size of `/tmp`.
    TmpfsBytes = tmpfs_bytes: u64, at least 64 * 1024;
    /// Open files of a process. The runner alone has about twenty.
    OpenFiles = open_files: u32, at least 64;
    /// Processor time.
    CpuMs = cpu_ms: u64, at least 100;
    /// Token events.
    TokensMax = tokens_max: u64, at least 1;
    /// Lines of output that are kept.
    LogLinesMax = log_lines_max: u64, at least 0;
}

impl Setting {
    /// The setting of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Values for some of the limits; the others are left to somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overrides(pub BTreeMap<Setting, u64>);

impl Overrides {
    /// The value for a limit, if there is one.
    #[must_use]
    pub fn get(&self, setting: Setting) -> Option<u64> {
        self.0.get(&setting).copied()
    }

    /// These limits, with the values that are set here.
    #[must_use]
    pub fn over(&self, mut limits: CellLimits) -> CellLimits {
        for (setting, value) in &self.0 {
            setting.put(&mut limits, *value);
        }
        limits
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Setting, u64)> for Overrides {
    fn from_iter<I: IntoIterator<Item = (Setting, u64)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_limits_is_a_setting() {
        let limits = CellLimits::most();
        let fields = serde_json::to_value(&limits).unwrap();
        let fields: Vec<&String> = fields.as_object().unwrap().keys().collect();
        let names: Vec<&str> = Setting::ALL.into_iter().map(Setting::name).collect();
        assert_eq!(names, fields);
        for setting in Setting::ALL {
            assert_eq!(Setting::named(setting.name()), Some(setting));
            assert_eq!(serde_json::to_value(setting).unwrap(), setting.name());
            assert!(setting.least() <= setting.of(&CellLimits::default()), "{setting}");
            assert!(setting.of(&CellLimits::default()) <= setting.of(&limits), "{setting}");
            assert!(setting.of(&limits) <= setting.most(), "{setting}");
            let mut changed = limits.clone();
            setting.put(&mut changed, 77);
            assert_eq!(setting.of(&changed), 77);
            setting.put(&mut changed, u64::MAX);
            assert_eq!(setting.of(&changed), setting.most());
        }
    }

    #[test]
    fn overrides_are_an_object_of_names() {
        let overrides: Overrides = [(Setting::WallMs, 5), (Setting::Pids, 9)].into_iter().collect();
        let text = serde_json::to_string(&overrides).unwrap();
        assert_eq!(text, r#"{"pids":9,"wall_ms":5}"#);
        assert_eq!(serde_json::from_str::<Overrides>(&text).unwrap(), overrides);
        assert!(serde_json::from_str::<Overrides>(r#"{"pigs":9}"#).is_err());
    }
}
