//! Jinja2's globals that the engine lacks or has otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, functions};

use super::guard;
use super::python::{Arguments, dates, in_one, repr, wrong};

/// Adds them.
pub fn install(environment: &mut Environment<'static>) {
    environment.add_global("dict", Value::from_object(Dict));
    environment.add_function("namespace", namespace);
    environment.add_function("cycler", |items: Rest<Value>| {
        if items.is_empty() {
            return Err(wrong("`cycler` takes at least one value"));
        }
        Ok(Value::from_object(Cycler {
            items: items.to_vec(),
            place: AtomicUsize::new(0),
        }))
    });
    environment.add_function("joiner", |args: Rest<Value>, named: Kwargs| {
        let arguments = Arguments::of("joiner", &["sep"], &in_one(args, named))?;
        Ok::<_, Error>(Value::from_object(Joiner {
            between: arguments.get(0).cloned().unwrap_or_else(|| Value::from(", ")),
            used: AtomicBool::new(false),
        }))
    });
    environment.add_function("strftime_now", |args: Rest<Value>, named: Kwargs| {
        let arguments = Arguments::of("strftime_now", &["format"], &in_one(args, named))?;
        dates::strftime_now(arguments.text(0)?)
    });
    environment.remove_global("debug");
}

/// From a map, from names, or from both.
fn namespace(state: &mut State, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let all = map(&in_one(args, named))?;
    for name in all.try_iter()? {
        if name.as_str().is_none_or(|name| name.starts_with("__")) {
            return Err(wrong(format!("{} is no name for a namespace", repr(&name))));
        }
    }
    Value::from_function(functions::namespace).call(state, &[all])
}

/// Python's `dict(…)`: of a map or of pairs, and of names.
fn map(args: &[Value]) -> Result<Value, Error> {
    let (start, named): (Option<Value>, Kwargs) = from_args(args)?;
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    if let Some(start) = start.filter(|start| !start.is_undefined()) {
        for item in start.try_iter()? {
            pairs.push(match start.kind() {
                ValueKind::Map => (item.clone(), start.get_item(&item)?),
                _ => {
                    let pair: Vec<Value> = item.try_iter()?.collect();
                    let [key, value] = <[Value; 2]>::try_from(pair)
                        .map_err(|pair| wrong(format!("`dict` takes pairs, found {} values", pair.len())))?;
                    (key, value)
                }
            });
        }
    }
    let names: Vec<String> = named.args().map(str::to_owned).collect();
    for name in names {
        pairs.push((Value::from(name.as_str()), named.get(&name)?));
    }
    let map = Value::from_pairs(pairs);
    guard::made(&map)?;
    Ok(map)
}

/// Python's `dict`.
#[derive(Debug)]
struct Dict;

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State, args: &[Value]) -> Result<Value, Error> {
        map(args)
    }

    fn call_method(self: &Arc<Self>, _: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        if method != "fromkeys" {
            return Err(Error::from(ErrorKind::UnknownMethod));
        }
        let (keys, value): (Value, Option<Value>) = from_args(args)?;
        let value = value.unwrap_or_else(|| Value::from(()));
        guard::allow_places(keys.len().unwrap_or(0), guard::size(&value)?)?;
        Ok(Value::from_pairs(
            keys.try_iter()?.map(|key| (key, value.clone())),
        ))
    }
}

/// Gives one value after another, over and over.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    place: AtomicUsize,
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let place = self.place.load(Ordering::Relaxed);
        match key.as_str()? {
            "current" => self.items.get(place).cloned(),
            "pos" => Some(Value::from(place)),
            "items" => Some(Value::from(self.items.clone())),
            _ => None,
        }
    }

    fn call_method(self: &Arc<Self>, _: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "next" => {
                let () = from_args(args)?;
                let place = self.place.load(Ordering::Relaxed);
                self.place
                    .store((place + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[place].clone())
            }
            "reset" => {
                let () = from_args(args)?;
                self.place.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// Gives a text at every call but the first.
#[derive(Debug)]
struct Joiner {
    between: Value,
    used: AtomicBool,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State, args: &[Value]) -> Result<Value, Error> {
        let () = from_args(args)?;
        Ok(match self.used.swap(true, Ordering::Relaxed) {
            true => self.between.clone(),
            false => Value::from(""),
        })
    }
}
