//! How values of the contract cross between Monocle and a native plugin: the Rust side of `monocle_plugin.h`. The host and the crate
//! `monocle-plugin` use it; authors do not.
//!
//! [`v0_2`] has the structures and the tables of functions, written from the contract. This module has what they are made of, and the two ways a
//! value goes: it is *lowered* into a structure that points to it, and *lifted* into a value of its own on the other side.

use std::any::Any;
use std::cell::RefCell;
use std::mem::MaybeUninit;

#[rustfmt::skip]
pub mod v0_2;

/// The version of the carrier: of what this crate says, whatever the contract's version.
pub const ABI: u32 = 1;

/// How a call ended.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// The result is there.
    pub const OK: Self = Self(0);
    /// It failed, with words for the user.
    pub const REFUSED: Self = Self(1);
    /// The host has ended the call of the plugin, which returns this at once.
    pub const ENDED: Self = Self(2);
    /// The plugin cannot go on: a mistake in it. What it wrote to the log last is shown.
    pub const BROKEN: Self = Self(3);
}

/// A text: UTF-8, not ended by a zero.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Its bytes; anything where there are none.
    pub data: *const u8,
    /// How many.
    pub length: usize,
}

impl Text {
    /// A text without letters.
    pub const EMPTY: Self = Self {
        data: std::ptr::null(),
        length: 0,
    };

    /// A text that is always there.
    pub const fn of(text: &'static str) -> Self {
        Self {
            data: text.as_ptr(),
            length: text.len(),
        }
    }
}

/// Values one after another.
#[repr(C)]
#[derive(Debug)]
pub struct List<T> {
    /// The first; anything where there are none.
    pub data: *const T,
    /// How many.
    pub count: usize,
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<T> {}

impl<T> List<T> {
    /// No values.
    pub const EMPTY: Self = Self {
        data: std::ptr::null(),
        count: 0,
    };
}

/// A value that may be absent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Optional<T: Copy> {
    /// Not 0 where it is there.
    pub present: u8,
    /// It, where it is there.
    pub value: MaybeUninit<T>,
}

/// What lowered values point to: it must live as long as they are used.
#[derive(Debug, Default)]
pub struct Keep(RefCell<Vec<Box<dyn Any>>>);

impl Keep {
    /// Keeps nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets go of everything.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Keeps these values; gives where they are.
    fn slice<T: 'static>(&self, values: Vec<T>) -> List<T> {
        if values.is_empty() {
            return List::EMPTY;
        }
        // A vector may move: what it holds stays where it is.
        let list = List {
            data: values.as_ptr(),
            count: values.len(),
        };
        self.0.borrow_mut().push(Box::new(values));
        list
    }

    /// Keeps a value, and lowers it.
    pub fn lowered<T: Lower + 'static>(&self, value: T) -> T::Abi {
        if !T::POINTS {
            return value.lower(self);
        }
        let value = vec![value];
        let lowered = value[0].lower(self);
        self.0.borrow_mut().push(Box::new(value));
        lowered
    }
}

/// A value that can be shown to the other side.
pub trait Lower {
    /// As the other side sees it.
    type Abi: Copy + 'static;
    /// Whether it may point to something.
    const POINTS: bool = true;

    /// Points to the value, and to what `keep` keeps.
    fn lower(&self, keep: &Keep) -> Self::Abi;
}

/// A value that can be taken from the other side.
pub trait Lift: Sized {
    /// As the other side shows it.
    type Abi: Copy + 'static;

    /// A copy of what the other side shows.
    ///
    /// # Safety
    /// Pointers in `abi` must point to as many values as it says, which nobody changes meanwhile.
    unsafe fn lift(abi: &Self::Abi) -> Result<Self, Malformed>;
}

/// What the other side showed is no value of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

macro_rules! plain {
    ($($kind:ty),*) => {$(
        impl Lower for $kind {
            type Abi = Self;
            const POINTS: bool = false;
            fn lower(&self, _keep: &Keep) -> Self {
                *self
            }
        }
        impl Lift for $kind {
            type Abi = Self;
            unsafe fn lift(abi: &Self) -> Result<Self, Malformed> {
                Ok(*abi)
            }
        }
    )*};
}

plain!(u8, u32, i32, u64, f32, f64);

impl Lower for bool {
    type Abi = u8;
    const POINTS: bool = false;
    fn lower(&self, _keep: &Keep) -> u8 {
        u8::from(*self)
    }
}

impl Lift for bool {
    type Abi = u8;
    unsafe fn lift(abi: &u8) -> Result<Self, Malformed> {
        Ok(*abi != 0)
    }
}

impl Lower for () {
    type Abi = Self;
    const POINTS: bool = false;
    fn lower(&self, _keep: &Keep) -> Self {}
}

impl Lift for () {
    type Abi = Self;
    unsafe fn lift(_abi: &Self) -> Result<Self, Malformed> {
        Ok(())
    }
}

impl<T: Lower + ?Sized> Lower for &T {
    type Abi = T::Abi;
    fn lower(&self, keep: &Keep) -> T::Abi {
        (**self).lower(keep)
    }
}

impl Lower for str {
    type Abi = Text;
    fn lower(&self, _keep: &Keep) -> Text {
        Text {
            data: self.as_ptr(),
            length: self.len(),
        }
    }
}

impl Lower for String {
    type Abi = Text;
    fn lower(&self, keep: &Keep) -> Text {
        self.as_str().lower(keep)
    }
}

impl Lift for String {
    type Abi = Text;
    unsafe fn lift(abi: &Text) -> Result<Self, Malformed> {
        if abi.length == 0 {
            return Ok(Self::new());
        }
        if abi.data.is_null() {
            return Err(Malformed("a text is nowhere"));
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts(abi.data, abi.length) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Malformed("a text is not UTF-8")),
        }
    }
}

impl<T: Lower> Lower for [T] {
    type Abi = List<T::Abi>;
    fn lower(&self, keep: &Keep) -> List<T::Abi> {
        keep.slice(self.iter().map(|value| value.lower(keep)).collect())
    }
}

impl<T: Lower> Lower for Vec<T> {
    type Abi = List<T::Abi>;
    fn lower(&self, keep: &Keep) -> List<T::Abi> {
        self.as_slice().lower(keep)
    }
}

impl<T: Lift> Lift for Vec<T> {
    type Abi = List<T::Abi>;
    unsafe fn lift(abi: &List<T::Abi>) -> Result<Self, Malformed> {
        if abi.count == 0 {
            return Ok(Self::new());
        }
        if abi.data.is_null() {
            return Err(Malformed("a list is nowhere"));
        }
        // SAFETY: the caller's promise.
        let values = unsafe { std::slice::from_raw_parts(abi.data, abi.count) };
        // SAFETY: the caller's promise, of what the values point to.
        values.iter().map(|value| unsafe { T::lift(value) }).collect()
    }
}

impl<T: Lower> Lower for Option<T> {
    type Abi = Optional<T::Abi>;
    fn lower(&self, keep: &Keep) -> Optional<T::Abi> {
        match self {
            Some(value) => Optional {
                present: 1,
                value: MaybeUninit::new(value.lower(keep)),
            },
            None => Optional {
                present: 0,
                value: MaybeUninit::zeroed(),
            },
        }
    }
}

impl<T: Lift> Lift for Option<T> {
    type Abi = Optional<T::Abi>;
    unsafe fn lift(abi: &Optional<T::Abi>) -> Result<Self, Malformed> {
        match abi.present {
            0 => Ok(None),
            // SAFETY: it is there, and the caller's promise holds for what it points to.
            _ => unsafe { T::lift(abi.value.assume_init_ref()).map(Some) },
        }
    }
}

impl<T: Lower> Lower for (T, T) {
    type Abi = [T::Abi; 2];
    fn lower(&self, keep: &Keep) -> [T::Abi; 2] {
        [self.0.lower(keep), self.1.lower(keep)]
    }
}

impl<T: Lift> Lift for (T, T) {
    type Abi = [T::Abi; 2];
    unsafe fn lift(abi: &[T::Abi; 2]) -> Result<Self, Malformed> {
        // SAFETY: the caller's promise.
        unsafe { Ok((T::lift(&abi[0])?, T::lift(&abi[1])?)) }
    }
}

impl<T: Lower> Lower for (T, T, T) {
    type Abi = [T::Abi; 3];
    fn lower(&self, keep: &Keep) -> [T::Abi; 3] {
        [self.0.lower(keep), self.1.lower(keep), self.2.lower(keep)]
    }
}

impl<T: Lift> Lift for (T, T, T) {
    type Abi = [T::Abi; 3];
    unsafe fn lift(abi: &[T::Abi; 3]) -> Result<Self, Malformed> {
        // SAFETY: the caller's promise.
        unsafe { Ok((T::lift(&abi[0])?, T::lift(&abi[1])?, T::lift(&abi[2])?)) }
    }
}

// SAFETY: what it points to is constant, and there as long as the library that gives it.
unsafe impl Sync for v0_2::Plugin {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lowered_is_lifted() {
        let keep = Keep::new();
        let value = vec![Some(vec!["ä".to_owned(), String::new()]), None, Some(vec![])];
        let lowered = value.lower(&keep);
        // SAFETY: `value` and `keep` are there.
        assert_eq!(unsafe { Vec::lift(&lowered) }, Ok(value.clone()));
        let triple = ((1.5_f32, 2.5, 3.5), (7_u32, 9_u32));
        // SAFETY: nothing is pointed to.
        let lifted = unsafe {
            (
                Lift::lift(&triple.0.lower(&keep)),
                Lift::lift(&triple.1.lower(&keep)),
            )
        };
        assert_eq!(lifted, (Ok(triple.0), Ok(triple.1)));
    }

    #[test]
    fn kept_values_stay_where_they_are() {
        let keep = Keep::new();
        let lowered = keep.lowered(vec!["some".to_owned(), "words".to_owned()]);
        let more: Vec<_> = (0..100_u32).map(|n| keep.lowered(vec![n; 10])).collect();
        // SAFETY: `keep` is there.
        let lifted: Vec<String> = unsafe { Vec::lift(&lowered) }.expect("it is sound");
        assert_eq!(lifted, ["some", "words"]);
        // SAFETY: as above.
        assert_eq!(unsafe { Vec::<u32>::lift(&more[42]) }, Ok(vec![42; 10]));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let bytes = [0xff_u8, 0xfe];
        let text = Text {
            data: bytes.as_ptr(),
            length: 2,
        };
        // SAFETY: the bytes are there.
        let lifted = unsafe { String::lift(&text) };
        assert_eq!(lifted, Err(Malformed("a text is not UTF-8")));
        let nowhere = List::<u32> {
            data: std::ptr::null(),
            count: 3,
        };
        // SAFETY: a null pointer is looked at, not followed.
        let lifted = unsafe { Vec::<u32>::lift(&nowhere) };
        assert_eq!(lifted, Err(Malformed("a list is nowhere")));
    }
}
