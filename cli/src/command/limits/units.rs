//! Values of limits as people write them: `memory=2GiB`, `wall=30m`, `cpu=1.5`.

use domain::limits::Setting;

use crate::client::Refusal;

const BYTES: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];
const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("min", 60_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
const PROCESSORS: [(&str, u64); 1] = [("", 1_000)];

/// What a number of a limit means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Time,
    Processors,
    Count,
}

/// The short name of a limit.
fn short(setting: Setting) -> &'static str {
    match setting {
        Setting::MemoryBytes => "memory",
        Setting::Pids => "pids",
        Setting::CpuMillis => "cpu",
        Setting::WallMs => "wall",
        Setting::OutputBytesMax => "output",
        Setting::FramesMax => "frames",
        Setting::LogBytesMax => "logs",
        Setting::TmpfsBytes => "tmp",
        Setting::OpenFiles => "files",
        Setting::CpuMs => "cpu-time",
        Setting::TokensMax => "tokens",
        Setting::LogLinesMax => "log-lines",
    }
}

fn unit(setting: Setting) -> Unit {
    match setting {
        Setting::MemoryBytes
        | Setting::OutputBytesMax
        | Setting::LogBytesMax
        | Setting::TmpfsBytes => Unit::Bytes,
        Setting::WallMs | Setting::CpuMs => Unit::Time,
        Setting::CpuMillis => Unit::Processors,
        Setting::Pids
        | Setting::FramesMax
        | Setting::OpenFiles
        | Setting::TokensMax
        | Setting::LogLinesMax => Unit::Count,
    }
}

/// The limit of this name, long or short.
pub(super) fn setting(name: &str) -> Result<Setting, Refusal> {
    let found = Setting::ALL.into_iter().find(|s| s.name() == name || short(*s) == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = Setting::ALL.into_iter().map(short).collect();
        Refusal::Failed(format!("there is no limit {name:?}\n  there are {}", names.join(", ")))
    })
}

/// `NAME=VALUE`. By its long name a limit takes a plain number in its own unit as well.
pub(super) fn assignment(text: &str) -> Result<(Setting, u64), Refusal> {
    let Some((name, value)) = text.split_once('=') else {
        let text =
            format!("{text:?} is not NAME=VALUE\n  for example: memory=2GiB wall=30m cpu=1.5");
        return Err(Refusal::Failed(text));
    };
    let setting = setting(name)?;
    let plain = value.parse().ok().filter(|_| name == setting.name());
    let parsed = plain.or_else(|| match unit(setting) {
        Unit::Bytes => scaled(value, &BYTES),
        Unit::Time => scaled(value, &TIMES),
        Unit::Processors => scaled(value, &PROCESSORS),
        Unit::Count => value.parse().ok(),
    });
    match parsed {
        Some(parsed) => Ok((setting, parsed)),
        None => {
            let form = match unit(setting) {
                Unit::Bytes => "a size with its unit: 512MiB, 1.5GiB, 2GB",
                Unit::Time => "a time with its unit: 500ms, 90s, 30m, 2h",
                Unit::Processors => "a number of processors: 2, 1.5, 0.25",
                Unit::Count => "a whole number",
            };
            Err(Refusal::Failed(format!("{value:?} is no value for {name}\n  give {form}")))
        }
    }
}

/// The shortest exact form.
pub(super) fn shown(setting: Setting, value: u64) -> String {
    let largest = |units: &[(&str, u64)]| {
        let fits = |(_, size): &&(&str, u64)| value > 0 && value.is_multiple_of(*size);
        let (unit, size) =
            units.iter().filter(fits).max_by_key(|(_, size)| *size).copied().unwrap_or(("", 1));
        format!("{}{unit}", value / size)
    };
    match unit(setting) {
        Unit::Bytes => largest(&[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)]),
        Unit::Time => largest(&[("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]),
        Unit::Processors => {
            let text = format!("{}.{:03}", value / 1_000, value % 1_000);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Unit::Count => value.to_string(),
    }
}

/// A decimal number times its unit, without the rounding of floating point.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, size) =
        units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)))?;
    let (whole, fraction) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    if whole.is_empty() || (number.contains('.') && fraction.is_empty()) || fraction.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(size)?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    let part = u128::from(part) * u128::from(size) / u128::from(10_u64.pow(digits));
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_units() {
        for (text, setting, value) in [
            ("memory=2GiB", Setting::MemoryBytes, 2 << 30),
            ("memory=1.5GiB", Setting::MemoryBytes, 3 << 29),
            ("memory=2 GB", Setting::MemoryBytes, 2_000_000_000),
            ("memory_bytes=1073741824", Setting::MemoryBytes, 1 << 30),
            ("memory_bytes=1GiB", Setting::MemoryBytes, 1 << 30),
            ("wall=30m", Setting::WallMs, 1_800_000),
            ("wall=500ms", Setting::WallMs, 500),
            ("wall=2min", Setting::WallMs, 120_000),
            ("cpu-time=1.5h", Setting::CpuMs, 5_400_000),
            ("cpu_ms=250", Setting::CpuMs, 250),
            ("cpu=1.5", Setting::CpuMillis, 1_500),
            ("cpu=2", Setting::CpuMillis, 2_000),
            ("cpu_millis=1500", Setting::CpuMillis, 1_500),
            ("pids=64", Setting::Pids, 64),
            ("log-lines=0", Setting::LogLinesMax, 0),
        ] {
            assert_eq!(assignment(text).unwrap(), (setting, value), "{text}");
        }
        for wrong in [
            "memory",
            "memory=",
            "memory=2",
            "memory=2TiB",
            "memory=-1GiB",
            "memory=.5GiB",
            "memory=1.GiB",
            "memory=99999999999999GiB",
            "wall=30",
            "wall=m",
            "cpu=fast",
            "cpu=1.5.5",
            "pids=1.5",
            "pids=",
            "speed=9",
            "memory=1e3MiB",
        ] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_can_be_given_again() {
        for (setting, value, text) in [
            (Setting::MemoryBytes, 1 << 30, "1GiB"),
            (Setting::MemoryBytes, 1_500_000, "1500000B"),
            (Setting::WallMs, 600_000, "10m"),
            (Setting::WallMs, 90_000, "90s"),
            (Setting::CpuMs, 86_400_000, "24h"),
            (Setting::CpuMs, 1_001, "1001ms"),
            (Setting::CpuMillis, 2_000, "2"),
            (Setting::CpuMillis, 250, "0.25"),
            (Setting::TokensMax, 200_000, "200000"),
        ] {
            assert_eq!(shown(setting, value), text);
            let again = format!("{}={text}", short(setting));
            assert_eq!(assignment(&again).unwrap(), (setting, value));
        }
        assert_eq!(shown(Setting::LogBytesMax, 0), "0");
    }
}
