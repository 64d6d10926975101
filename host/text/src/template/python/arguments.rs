//! Arguments as Python takes them: by place or by name.

use minijinja::value::{Kwargs, Rest, from_args};
use minijinja::{Error, ErrorKind, Value};

use super::repr::to_text;

/// The arguments of one call, in the order of their names.
pub struct Arguments {
    function: &'static str,
    names: &'static [&'static str],
    values: Vec<Option<Value>>,
}

/// What a function was given, by place and then by name, as [`Arguments::of`] takes it.
pub fn in_one(places: Rest<Value>, named: Kwargs) -> Vec<Value> {
    let mut all = places.0;
    if named.args().next().is_some() {
        all.push(Value::from(named));
    }
    all
}

impl Arguments {
    /// Sorts what was given by the names of a function's parameters.
    pub fn of(
        function: &'static str,
        names: &'static [&'static str],
        given: &[Value],
    ) -> Result<Self, Error> {
        let (places, named): (&[Value], Kwargs) = from_args(given)?;
        if places.len() > names.len() {
            let (most, found) = (names.len(), places.len());
            return Err(wrong(format!(
                "`{function}` takes at most {most} arguments, found {found}"
            )));
        }
        let mut values: Vec<Option<Value>> = places.iter().cloned().map(Some).collect();
        values.resize(names.len(), None);
        for name in named.args() {
            let place = names.iter().position(|known| *known == name);
            let place = place.ok_or_else(|| wrong(format!("`{function}` has no argument `{name}`")))?;
            if values[place].is_some() {
                return Err(wrong(format!("`{function}` was given `{name}` twice")));
            }
            values[place] = Some(named.get(name)?);
        }
        Ok(Self {
            function,
            names,
            values,
        })
    }

    /// An argument that may be absent.
    pub fn get(&self, place: usize) -> Option<&Value> {
        self.values[place].as_ref()
    }

    /// An argument that may be absent; `none` is as good as absent.
    pub fn given(&self, place: usize) -> Option<&Value> {
        self.get(place).filter(|value| !value.is_none())
    }

    /// A text that must be there.
    pub fn text(&self, place: usize) -> Result<&str, Error> {
        let value = self.get(place);
        value
            .and_then(Value::as_str)
            .ok_or_else(|| self.expected(place, "a text"))
    }

    /// A text that may be absent or `none`.
    pub fn text_given(&self, place: usize) -> Result<Option<&str>, Error> {
        match self.given(place) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .map(Some)
                .ok_or_else(|| self.expected(place, "a text")),
        }
    }

    /// A value as text, whatever it is.
    pub fn any_text(&self, place: usize, default: &str) -> String {
        self.get(place).map_or_else(|| default.to_owned(), to_text)
    }

    /// A whole number, or what there is in its absence.
    pub fn integer(&self, place: usize, default: i64) -> Result<i64, Error> {
        match self.given(place) {
            None => Ok(default),
            Some(value) => integer(value).ok_or_else(|| self.expected(place, "a whole number")),
        }
    }

    /// Whether an argument is true, or what there is in its absence.
    pub fn is_true(&self, place: usize, default: bool) -> bool {
        self.get(place).map_or(default, Value::is_true)
    }

    fn expected(&self, place: usize, what: &str) -> Error {
        let (function, name) = (self.function, self.names[place]);
        let found = self
            .get(place)
            .map_or("nothing".to_owned(), |value| value.kind().to_string());
        wrong(format!("`{function}` expects {what} as `{name}`, found {found}"))
    }
}

/// A whole number: Python's truth values are some, too.
pub fn integer(value: &Value) -> Option<i64> {
    match bool::try_from(value.clone()) {
        Ok(truth) => Some(i64::from(truth)),
        Err(_) if value.is_integer() => i64::try_from(value.clone()).ok(),
        Err(_) => None,
    }
}

/// An error of a call.
pub fn wrong(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}
