//! JSON as Python's `json` module writes and reads it, where clients can see the difference.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// `json.dumps(value)`: `", "` and `": "` between, everything beyond ASCII escaped.
pub(crate) fn dumps(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

/// `repr` of a list of texts: `['a', 'b']`.
pub(crate) fn repr_list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
            let escaped = if quote == '\'' { escaped.replace('\'', "\\'") } else { escaped };
            format!("{quote}{escaped}{quote}")
        })
        .collect();
    format!("[{}]", quoted.join(", "))
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&number_text(number)),
        Value::String(string) => write_string(text, string),
        Value::Array(list) => {
            text.push('[');
            for (index, item) in list.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write(text, item);
            }
            text.push(']');
        }
        Value::Object(map) => {
            text.push('{');
            for (index, (key, item)) in map.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write_string(text, key);
                text.push_str(": ");
                write(text, item);
            }
            text.push('}');
        }
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}

/// `repr` of a number: floats from 1e16 on and below 1e-4 with a signed exponent of two digits.
fn number_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let scientific = format!("{float:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(power @ (16.. | ..=-5)) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", power.unsigned_abs())
        }
        // Debug of a float keeps a `.0`, as Python does.
        _ => format!("{float:?}"),
    }
}

/// Where Python's `json.loads` finds fault with a text: the `pos` of its `JSONDecodeError`, an
/// index of characters. `None` when it takes the text (it also takes `NaN` and `Infinity`).
pub(crate) fn error_position(text: &str) -> Option<usize> {
    let characters: Vec<char> = text.chars().collect();
    let reader = Reader { text: &characters };
    let result = reader.value(reader.blank(0), 0).and_then(|end| {
        let end = reader.blank(end);
        if end == characters.len() { Ok(end) } else { Err(end) }
    });
    result.err()
}

/// Deepest nesting that is looked into; Python's own limit is near.
const DEPTH_MAX: usize = 900;

/// A walk over the text by Python's rules. `Ok` is where a part ends, `Err` where it is wrong.
struct Reader<'t> {
    text: &'t [char],
}

impl Reader<'_> {
    fn at(&self, index: usize) -> Option<char> {
        self.text.get(index).copied()
    }

    fn blank(&self, from: usize) -> usize {
        let is_blank = |index: &usize| matches!(self.at(*index), Some(' ' | '\t' | '\n' | '\r'));
        (from..).find(|index| !is_blank(index)).unwrap_or(from)
    }

    fn value(&self, from: usize, depth: usize) -> Result<usize, usize> {
        if depth > DEPTH_MAX {
            return Err(from);
        }
        match self.at(from) {
            Some('"') => self.string(from + 1),
            Some('{') => self.object(from + 1, depth),
            Some('[') => self.array(from + 1, depth),
            _ => {
                let words = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];
                let rest = self.text.get(from..).unwrap_or_default();
                let starts = |word: &&str| word.chars().zip(rest).filter(|(a, b)| a == *b).count();
                match words.into_iter().find(|word| starts(word) == word.len()) {
                    Some(word) => Ok(from + word.len()),
                    None => self.number(from),
                }
            }
        }
    }

    fn digits(&self, from: usize) -> usize {
        (from..).find(|i| !self.at(*i).is_some_and(|c| c.is_ascii_digit())).unwrap_or(from)
    }

    fn number(&self, from: usize) -> Result<usize, usize> {
        let first = if self.at(from) == Some('-') { from + 1 } else { from };
        let mut end = match self.at(first) {
            Some('0') => first + 1,
            Some('1'..='9') => self.digits(first),
            _ => return Err(from),
        };
        if self.at(end) == Some('.') && self.digits(end + 1) > end + 1 {
            end = self.digits(end + 1);
        }
        if matches!(self.at(end), Some('e' | 'E')) {
            let signed = matches!(self.at(end + 1), Some('+' | '-'));
            let power = if signed { end + 2 } else { end + 1 };
            if self.digits(power) > power {
                end = self.digits(power);
            }
        }
        Ok(end)
    }

    /// `from` is behind the opening quote; an unterminated text is blamed on that quote.
    fn string(&self, from: usize) -> Result<usize, usize> {
        let mut index = from;
        loop {
            match self.at(index) {
                None => return Err(from - 1),
                Some('"') => return Ok(index + 1),
                Some('\\') => match self.at(index + 1) {
                    None => return Err(from - 1),
                    Some('u') => {
                        let is_hex = |i| self.at(i).is_some_and(|c: char| c.is_ascii_hexdigit());
                        if !(index + 2..index + 6).all(is_hex) {
                            return Err(index + 1);
                        }
                        index += 6;
                    }
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => index += 2,
                    Some(_) => return Err(index),
                },
                Some('\0'..='\u{1f}') => return Err(index),
                Some(_) => index += 1,
            }
        }
    }

    fn object(&self, from: usize, depth: usize) -> Result<usize, usize> {
        let mut index = self.blank(from);
        if self.at(index) == Some('}') {
            return Ok(index + 1);
        }
        loop {
            if self.at(index) != Some('"') {
                return Err(index);
            }
            index = self.blank(self.string(index + 1)?);
            if self.at(index) != Some(':') {
                return Err(index);
            }
            index = self.blank(self.value(self.blank(index + 1), depth + 1)?);
            match self.at(index) {
                Some('}') => return Ok(index + 1),
                Some(',') => index = self.blank(index + 1),
                _ => return Err(index),
            }
        }
    }

    fn array(&self, from: usize, depth: usize) -> Result<usize, usize> {
        let mut index = self.blank(from);
        if self.at(index) == Some(']') {
            return Ok(index + 1);
        }
        loop {
            index = self.blank(self.value(index, depth + 1)?);
            match self.at(index) {
                Some(']') => return Ok(index + 1),
                Some(',') => index = self.blank(index + 1),
                _ => return Err(index),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dumps_as_python_does() {
        let value = json!({"event": "token", "data": {"chunk": "Grüße 😀\n\"\u{7f}", "n": [1, 2.0, 1e16, 1.5e-7, -0.0001]}});
        assert_eq!(
            dumps(&value),
            r#"{"event": "token", "data": {"chunk": "Gr\u00fc\u00dfe \ud83d\ude00\n\"\u007f", "n": [1, 2.0, 1e+16, 1.5e-07, -0.0001]}}"#
                .replace("\\n\"", "\\n\\\"")
        );
        assert_eq!(dumps(&json!([{}, [], null, true])), "[{}, [], null, true]");
        assert_eq!(repr_list(&["code".into(), "it's".into()]), r#"['code', "it's"]"#);
    }

    #[test]
    fn finds_the_position_that_python_names() {
        for (text, position) in [
            (r#"{"input_value":"#, Some(15)),
            (r#"{"input_value": "Bob""#, Some(21)),
            (r#"{"input_value": nope}"#, Some(16)),
            ("", Some(0)),
            ("{", Some(1)),
            (r#"{"a" 1}"#, Some(5)),
            (r#"{"a": "b"#, Some(6)),
            (r#"{"ä": "ü", x}"#, Some(11)),
            ("[1,]", Some(3)),
            ("[1 2]", Some(3)),
            (r#"{"a": 1} x"#, Some(9)),
            (r#""\x""#, Some(1)),
            ("01", Some(1)),
            (r#"{"a":1, }"#, Some(8)),
            (r#""\u12""#, Some(2)),
            ("1e", Some(1)),
            (r#"{"a": NaN, "b": [-Infinity, -1.5e3]}"#, None),
            (" null ", None),
        ] {
            assert_eq!(error_position(text), position, "{text}");
        }
    }
}
