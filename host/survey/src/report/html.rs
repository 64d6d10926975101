//! `report.html`: one file that needs no other.

use std::fmt::Write;

use super::{About, COLUMNS, charts, counts, failures, told};
use crate::row::Row;

/// How reports look: light and dark, on phones and on paper.
pub const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60646c;--ground:#fff;--card:#f6f7f9;--line:#d9dde3;--mark:#2563a8;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a0a6b0;--ground:#15181c;--card:#1e2227;--line:#343a42;--mark:#7ab4f0;--bad:#ff8f85}}
*{box-sizing:border-box}body{margin:0 auto;max-width:76rem;padding:1.5rem 1rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--ground)}
h1{font-size:1.6rem;margin:0 0 .5rem}h2{font-size:1.2rem;margin:2.2rem 0 .6rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
.top{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}.top img{max-width:min(18rem,100%);max-height:16rem;border-radius:6px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0;min-width:0;flex:1 1 20rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:6px}table{border-collapse:collapse;width:100%;font-size:13px}
th,td{padding:.4rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap;font-variant-numeric:tabular-nums}
th{background:var(--card);white-space:normal;vertical-align:bottom;padding:0}th button{all:unset;cursor:pointer;padding:.4rem .6rem;display:block;box-sizing:border-box;width:100%;font-weight:600}
th button:focus-visible{outline:2px solid var(--mark)}th[aria-sort=ascending] button::after{content:' ▲'}th[aria-sort=descending] button::after{content:' ▼'}
th:first-child,td:first-child,th:last-child,td:last-child{text-align:left}td:first-child{font-weight:600}td:last-child{white-space:normal;min-width:12rem;overflow-wrap:anywhere}tr:last-child td{border-bottom:0}
.failed td:last-child{color:var(--bad)}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;margin:.4rem 0;font:13px/1.5 ui-monospace,monospace}
svg{width:100%;max-width:60rem;height:auto;background:var(--card);border:1px solid var(--line);border-radius:6px}svg text{fill:var(--ink);font:12px system-ui,sans-serif}
.grid{stroke:var(--line)}.dot{fill:var(--mark)}.p0{fill:#8b9bb0}.p1{fill:#d9a441}.p2{fill:#5b9a6b}.p3{fill:#4f86c6}.p4{fill:#8073b8}.p5{fill:#b0628f}
ul{margin:.3rem 0;padding-left:1.2rem}.soft{color:var(--soft)}.stopped{color:var(--bad);font-weight:600}a{color:var(--mark)}
@media(max-width:40rem){body{padding:1rem .7rem;font-size:14px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}}
@media print{body{max-width:none;padding:0;font-size:10pt}.wide{overflow:visible;border:0}table{font-size:7pt}th,td{padding:.15rem .25rem;white-space:normal}th button{padding:.15rem}pre,svg,tr{break-inside:avoid}td:last-child{min-width:0}}
";

/// Sorts a table by the column whose heading is pressed: numbers as numbers, empty cells last.
pub const SCRIPT: &str = "
for(const b of document.querySelectorAll('th button'))b.onclick=()=>{const th=b.parentNode,t=th.closest('table'),i=th.cellIndex,up=th.getAttribute('aria-sort')!=='ascending';
for(const o of t.querySelectorAll('th'))o.removeAttribute('aria-sort');th.setAttribute('aria-sort',up?'ascending':'descending');
const v=r=>i&&r.className?'':r.cells[i].dataset.v??r.cells[i].textContent;const rows=[...t.tBodies[0].rows];
rows.sort((a,b)=>{const x=v(a),y=v(b);if(x===''||y==='')return(x==='')-(y==='');const n=Number(x)-Number(y);const c=Number.isNaN(n)?x.localeCompare(y):n;return up?c:-c});
t.tBodies[0].append(...rows)};
";

/// Text as it may stand in a page.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A page as far as its title, and whether `what` is missing of it.
pub fn head(about: &About, what: &str) -> String {
    let title = escaped(&about.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    if about.is_partial {
        let _ = writeln!(
            html,
            "<p class=\"stopped\">The run was stopped: {what} are missing.</p>"
        );
    }
    html
}

/// The page.
pub fn page(about: &About, rows: &[Row]) -> String {
    let mut html = head(about, "rows");
    html.push_str("<div class=\"top\">");
    if let Some(picture) = &about.picture {
        let _ = write!(html, "<img alt=\"the picture\" src=\"{}\">", escaped(picture));
    }
    html.push_str("<dl>");
    let (answered, failed) = counts(rows);
    let rows_line = ("rows".to_owned(), format!("{answered} answered, {failed} failed"));
    for (name, value) in about.lines.iter().chain([&rows_line]) {
        let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    html.push_str("</dl></div>\n<h2>Rows</h2><div class=\"wide\"><table><thead><tr>");
    let names = COLUMNS.iter().map(|column| column.name);
    for name in ["model"].into_iter().chain(names).chain(["findings"]) {
        let _ = write!(html, "<th scope=\"col\"><button>{name}</button></th>");
    }
    html.push_str("</tr></thead><tbody>\n");
    for (number, row) in rows.iter().enumerate() {
        let class = if row.failure.is_some() {
            " class=\"failed\""
        } else {
            ""
        };
        let _ = write!(
            html,
            "<tr{class}><td><a href=\"#r{number}\">{}</a></td>",
            escaped(&row.title())
        );
        if row.failure.is_some() {
            // There are no figures, and the reason has room.
            let _ = writeln!(
                html,
                "<td colspan=\"{}\">{}</td></tr>",
                COLUMNS.len() + 1,
                escaped(&told(row))
            );
            continue;
        }
        for column in &COLUMNS {
            let value = (column.show)(row);
            // A grade is sorted by its points.
            let sort = row.grade.as_ref().filter(|_| column.name == "grade");
            let sort = sort.map_or(String::new(), |grade| format!(" data-v=\"{}\"", grade.points));
            let _ = write!(html, "<td{sort}>{}</td>", escaped(&value));
        }
        let _ = writeln!(html, "<td>{}</td></tr>", escaped(&told(row)));
    }
    html.push_str("</tbody></table></div>\n");
    let charts = [
        ("Speed against memory", charts::speed_and_memory(rows)),
        ("Time by phase", charts::time_by_phase(rows)),
    ];
    for (name, chart) in charts {
        if let Some(chart) = chart {
            let _ = writeln!(html, "<h2>{name}</h2>{chart}");
        }
    }
    if failed > 0 {
        html.push_str("<h2>Failures, by where the fault lies</h2>\n");
        for (place, rows) in failures(rows) {
            let _ = writeln!(html, "<h3>{} ({})</h3><ul>", place.name(), rows.len());
            for row in rows {
                let reason = row.failure.as_ref().map_or("", |failure| failure.reason.as_str());
                let _ = writeln!(html, "<li>{}: {}</li>", escaped(&row.title()), escaped(reason));
            }
            html.push_str("</ul>\n");
        }
    }
    html.push_str("<h2>Prompts</h2>\n");
    for (name, prompt) in &about.prompts {
        let _ = writeln!(html, "<h3>{}</h3><pre>{}</pre>", escaped(name), escaped(prompt));
    }
    html.push_str("<h2>Answers and errors</h2>\n");
    for (number, row) in rows.iter().enumerate() {
        let _ = writeln!(html, "<h3 id=\"r{number}\">{}</h3>", escaped(&row.title()));
        if let Some(answer) = &row.answer {
            let _ = writeln!(
                html,
                "<p class=\"soft\">{}</p><pre>{}</pre>",
                escaped(&answer.finish),
                escaped(&answer.text)
            );
            if !answer.reasoning.is_empty() {
                let _ = writeln!(
                    html,
                    "<details><summary>reasoning</summary><pre>{}</pre></details>",
                    escaped(&answer.reasoning)
                );
            }
        }
        if let Some(failure) = &row.failure {
            let _ = writeln!(
                html,
                "<p class=\"soft\">{}</p><pre>{}</pre>",
                failure.place.name(),
                escaped(&failure.error)
            );
        }
        let findings = row
            .findings
            .iter()
            .map(|finding| format!("{}: {}", finding.rule.name(), finding.detail));
        let parts = row.grade.iter().flat_map(|grade| &grade.parts);
        let parts: Vec<String> = parts
            .map(|part| format!("{} {}/{}", part.name, part.points, part.of))
            .collect();
        let grade = (!parts.is_empty()).then(|| format!("grade: {}", parts.join(", ")));
        html.push_str("<ul>");
        for line in findings.chain(grade).chain([format!("repeat: {}", row.repeat)]) {
            let _ = write!(html, "<li>{}</li>", escaped(&line));
        }
        html.push_str("</ul>\n");
    }
    let _ = writeln!(html, "<script>{SCRIPT}</script></body></html>");
    html
}
