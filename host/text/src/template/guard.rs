//! What templates may make: fuel bounds the steps of a render, this bounds the size of what a step makes. Without it
//! `{% set x = x ~ x %}` in a loop doubles its way through all memory in forty steps.
//!
//! The engine has no place to ask between an operation and its result, so a template is rewritten before it is compiled: each
//! operation that can make something large gets the filter [`CHECK`] behind it. Filters and methods whose result is not bounded
//! by their operands' sizes are asked before they run.

use std::cell::Cell;

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

/// Bytes that one value may have, printed.
pub const LARGEST: usize = 16 << 20;
/// Bytes that all values of a render may have, those forgotten included.
const ALL: usize = 2 << 30;
/// How deep values may nest: printing them recurses.
const DEEPEST: usize = 100;
/// What a value counts as besides its text: its own bytes, what the engine keeps with it, the time to look at it.
const PLACE: usize = 128;

/// The filter that checks what was made.
const CHECK: &str = "__check";

thread_local! {
    /// Bytes made in this thread's render.
    static MADE: Cell<usize> = const { Cell::new(0) };
}

/// A value is too large, or all of them are; an error's source, so that it can be told from the engine's errors.
#[derive(Debug, thiserror::Error)]
#[error("values of more than {0} bytes")]
pub struct TooLarge(pub usize);

/// Forgets what an earlier render made.
pub fn start() {
    MADE.set(0);
}

/// Steps of a render of this template: text between tags is printed without being asked about, so the longer it is, the fewer.
pub fn fuel(template: &str, most: u64) -> u64 {
    let longest = template.split(['{', '}']).map(str::len).max().unwrap_or(0);
    (ALL / longest.max(1)).try_into().unwrap_or(most).min(most)
}

/// Adds the check and what is asked beforehand.
pub fn install(environment: &mut Environment<'static>) {
    environment.add_filter(CHECK, |value: &Value| made(value).map(|()| value.clone()));
    environment.add_function("dict", |start: Option<Value>, further| {
        let map = minijinja::functions::dict(start, further)?;
        made(&map)?;
        Ok::<_, Error>(map)
    });
    // The engine's own, under names of ours.
    environment.add_filter("__replace", minijinja::filters::replace);
    environment.add_filter("__join", minijinja::filters::join);
    environment.add_filter("__indent", minijinja::filters::indent);
    environment.add_filter("__format", minijinja::filters::format);
    for (name, own) in [
        ("replace", "__replace"),
        ("join", "__join"),
        ("indent", "__indent"),
        ("format", "__format"),
    ] {
        environment.add_filter(name, move |state: &mut State, args: Rest<Value>| {
            if let Some((value, others)) = args.split_first() {
                ask(name, value, others)?;
            }
            state.apply_filter(own, &args)
        });
    }
}

/// Refuses a call whose result could be too large.
pub fn ask(name: &str, value: &Value, args: &[Value]) -> Result<(), Error> {
    let largest = match name {
        "replace" => {
            let from = args.first().map_or("", text);
            let times = match (text(value), from) {
                (text, "") => text.len() + 1,
                (text, from) => text.matches(from).count(),
            };
            size(value)?.saturating_add(times.saturating_mul(args.get(1).map_or(0, |to| text(to).len())))
        }
        // As a filter and as a method: what stands between, or what is joined, may come first.
        "join" => {
            let all = [value].into_iter().chain(args);
            let places = all.clone().filter_map(Value::len).max().unwrap_or(0);
            let between = all.clone().map(|value| text(value).len()).max().unwrap_or(0);
            let parts = all.map(size).sum::<Result<usize, Error>>()?;
            parts.saturating_add(places.saturating_mul(between))
        }
        "indent" => {
            let width = args.iter().filter_map(Value::as_usize).max().unwrap_or(0);
            text(value).lines().count().saturating_mul(width)
        }
        // Widths and precisions stand in the text, or are asked for with `*`.
        "format" => {
            let text = text(value);
            let widths = text.split(|c: char| !c.is_ascii_digit());
            let widths = widths.map(|digits| {
                digits
                    .parse()
                    .unwrap_or(if digits.is_empty() { 0 } else { usize::MAX })
            });
            let asked = args
                .iter()
                .filter_map(Value::as_usize)
                .filter(|_| text.contains('*') || text.contains("{:{"));
            let widest: usize = widths.chain(asked).max().unwrap_or(0);
            let places = text.matches(['%', '{']).count();
            let parts = args.iter().map(size).sum::<Result<usize, Error>>()?;
            places.saturating_mul(widest.saturating_add(parts))
        }
        _ => 0,
    };
    if largest > LARGEST {
        Err(too_large(LARGEST))
    } else {
        Ok(())
    }
}

/// Counts a value that was made, and refuses it when it is too large.
pub fn made(value: &Value) -> Result<(), Error> {
    if matches!(
        value.kind(),
        ValueKind::Number | ValueKind::Bool | ValueKind::None | ValueKind::Undefined
    ) {
        return Ok(());
    }
    let all = MADE.get().saturating_add(size(value)?);
    MADE.set(all);
    if all > ALL { Err(too_large(ALL)) } else { Ok(()) }
}

/// Roughly the bytes of a value when it is printed: what occurs twice counts twice.
pub fn size(value: &Value) -> Result<usize, Error> {
    let mut left = LARGEST;
    spend(value, &mut left, DEEPEST)?;
    Ok(LARGEST - left)
}

fn spend(value: &Value, left: &mut usize, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("values are nested more than {DEEPEST} deep"),
        ));
    }
    let own = PLACE + value.as_str().map_or(0, str::len);
    *left = left.checked_sub(own).ok_or_else(|| too_large(LARGEST))?;
    if matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
    ) {
        for item in value.try_iter()? {
            if value.kind() == ValueKind::Map {
                spend(&value.get_item(&item)?, left, depth - 1)?;
            }
            spend(&item, left, depth - 1)?;
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn too_large(limit: usize) -> Error {
    Error::new(ErrorKind::InvalidOperation, "too large").with_source(TooLarge(limit))
}

/// The template with checks in it. One that cannot be parsed stays as it is: the compiler says why.
pub fn with_checks(template: &str) -> Result<String, Error> {
    let Ok(parsed) = parse(template, "", SyntaxConfig::default()) else {
        return Ok(template.to_owned());
    };
    let mut checks = Checks::default();
    checks.statement(&parsed)?;
    // Of checks that end in one place the inner one comes first: they were found in that order, and sorting keeps it.
    checks
        .insertions
        .sort_by_key(|(offset, closes, _)| (*offset, !closes));
    let mut text = String::with_capacity(template.len() + checks.insertions.len() * 12);
    let mut done = 0;
    for (offset, _, insertion) in checks.insertions {
        text.push_str(&template[done..offset]);
        text.push_str(&insertion);
        done = offset;
    }
    text.push_str(&template[done..]);
    Ok(text)
}

/// Where checks go: the offset, whether it closes, the text.
#[derive(Default)]
struct Checks {
    insertions: Vec<(usize, bool, String)>,
    constants: usize,
}

impl Checks {
    /// Around an expression.
    fn around(&mut self, span: Span) {
        self.insertions
            .push((span.start_offset as usize, false, "((".to_owned()));
        self.insertions
            .push((span.end_offset as usize, true, format!(")|{CHECK})")));
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Result<(), Error> {
        statements
            .iter()
            .try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Result<(), Error> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::ForLoop(each) => {
                self.expression(&each.iter)?;
                self.optional(each.filter_expr.as_ref())?;
                self.statements(&each.body)?;
                self.statements(&each.else_body)
            }
            Stmt::IfCond(condition) => {
                self.expression(&condition.expr)?;
                self.statements(&condition.true_body)?;
                self.statements(&condition.false_body)
            }
            Stmt::WithBlock(with) => {
                with.assignments
                    .iter()
                    .try_for_each(|(_, value)| self.expression(value))?;
                self.statements(&with.body)
            }
            Stmt::Set(set) => self.expression(&set.expr),
            Stmt::SetBlock(set) => {
                self.optional(set.filter.as_ref())?;
                self.statements(&set.body)
            }
            Stmt::AutoEscape(escape) => self.statements(&escape.body),
            Stmt::FilterBlock(block) => {
                self.expression(&block.filter)?;
                self.statements(&block.body)
            }
            Stmt::Macro(definition) => {
                self.expressions(&definition.defaults)?;
                self.statements(&definition.body)
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call)?;
                self.statements(&block.macro_decl.body)
            }
            Stmt::Do(call) => self.call(&call.call),
            // Text, `break` and `continue`; other templates are not there to be included.
            _ => Ok(()),
        }
    }

    fn expressions(&mut self, expressions: &[Expr<'_>]) -> Result<(), Error> {
        expressions
            .iter()
            .try_for_each(|expression| self.expression(expression))
    }

    fn optional(&mut self, expression: Option<&Expr<'_>>) -> Result<(), Error> {
        expression.map_or(Ok(()), |expression| self.expression(expression))
    }

    fn expression(&mut self, expression: &Expr<'_>) -> Result<(), Error> {
        match expression {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(slice) => {
                self.expression(&slice.expr)?;
                for part in [&slice.start, &slice.stop, &slice.step] {
                    self.optional(part.as_ref())?;
                }
            }
            Expr::UnaryOp(unary) => self.expression(&unary.expr)?,
            Expr::BinOp(binary) => {
                self.expression(&binary.left)?;
                self.expression(&binary.right)?;
                if matches!(binary.op, BinOpKind::Add | BinOpKind::Mul | BinOpKind::Concat) {
                    self.constant(expression)?;
                    self.around(binary.span());
                }
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr)?;
                compare.ops.iter().try_for_each(|op| self.expression(&op.expr))?;
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr)?;
                self.expression(&choice.true_expr)?;
                self.optional(choice.false_expr.as_ref())?;
            }
            Expr::Filter(filter) => {
                self.optional(filter.expr.as_ref())?;
                self.arguments(&filter.args)?;
                let end = filter.span().end_offset as usize;
                self.insertions.push((end, true, format!("|{CHECK}")));
            }
            Expr::Test(test) => {
                self.expression(&test.expr)?;
                self.arguments(&test.args)?;
            }
            Expr::GetAttr(get) => self.expression(&get.expr)?,
            Expr::GetItem(get) => {
                self.expression(&get.expr)?;
                self.expression(&get.subscript_expr)?;
            }
            Expr::Call(call) => self.call(call)?,
            Expr::List(list) => self.collection(expression, list.span(), &list.items)?,
            Expr::Tuple(tuple) => self.expressions(&tuple.items)?,
            Expr::Map(map) => {
                self.expressions(&map.keys)?;
                self.collection(expression, map.span(), &map.values)?;
            }
        }
        Ok(())
    }

    /// A list or a map: checked unless it is the same each time.
    fn collection(&mut self, expression: &Expr<'_>, span: Span, items: &[Expr<'_>]) -> Result<(), Error> {
        self.expressions(items)?;
        if expression.as_const().is_none() {
            self.around(span);
        }
        Ok(())
    }

    fn call(&mut self, call: &Call<'_>) -> Result<(), Error> {
        self.expression(&call.expr)?;
        self.arguments(&call.args)
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) -> Result<(), Error> {
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(value)
            | CallArg::Kwarg(_, value)
            | CallArg::PosSplat(value)
            | CallArg::KwargSplat(value) => self.expression(value),
        })
    }

    /// What is the same each time is computed by the compiler, and kept.
    fn constant(&mut self, expression: &Expr<'_>) -> Result<(), Error> {
        if let Some(value) = expression.as_const() {
            self.constants += size(&value)?;
        }
        if self.constants > 4 * LARGEST {
            Err(too_large(4 * LARGEST))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_stand_around_what_can_grow() {
        for (template, expected) in [
            ("a{{ b }}c", "a{{ b }}c"),
            ("{{ a ~ b ~ c }}", "{{ ((((a ~ b)|__check) ~ c)|__check) }}"),
            (
                "{{ (a + b)[0] * 2 }}",
                "{{ (((((a + b)|__check))[0] * 2)|__check) }}",
            ),
            (
                "{{ a|trim ~ b|join('-') }}",
                "{{ ((a|trim|__check ~ b|join('-')|__check)|__check) }}",
            ),
            ("{{ [1, 'x'] }}{{ [a] }}", "{{ [1, 'x'] }}{{ (([a])|__check) }}"),
            (
                "{% set x = {'k': a - 1} %}",
                "{% set x = (({'k': a - 1})|__check) %}",
            ),
            (
                "{% filter upper %}{% endfilter %}",
                "{% filter upper|__check %}{% endfilter %}",
            ),
            (
                "{% for e in 'ü' ~ a %}{{ 'ö' ~ e }}{% endfor %}",
                "{% for e in (('ü' ~ a)|__check) %}{{ (('ö' ~ e)|__check) }}{% endfor %}",
            ),
            ("{{ a ~ }}", "{{ a ~ }}"),
        ] {
            assert_eq!(with_checks(template).unwrap(), expected);
        }
    }

    #[test]
    fn long_text_gets_fewer_steps() {
        assert_eq!(fuel("{{ a }} and {{ b }}", 5_000_000), 5_000_000);
        assert_eq!(fuel(&"x".repeat(1 << 20), 5_000_000), 2048);
    }
}
