//! Puts the check into a template's text, behind each operation that can make something large.

use minijinja::Error;
use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, parse};
use minijinja::syntax::SyntaxConfig;

use super::{CHECK, LARGEST, size, too_large};

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
}
