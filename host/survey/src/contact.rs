//! A contact sheet: photos with what is known of them, in one HTML file that needs no other.

use std::fmt::Write;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::report::escaped;
use crate::structure::Structure;

/// A photo.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// A small picture of it, as an address of data.
    pub picture: Option<String>,
    /// Its files.
    pub files: Vec<String>,
    /// What a model said, by language.
    pub parts: Vec<(String, Structure)>,
    /// What is wrong with that.
    pub marks: Vec<String>,
    /// Why nothing was said.
    pub failure: Option<String>,
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60646c;--ground:#fff;--card:#f6f7f9;--line:#d9dde3;--mark:#2563a8;--bad:#b42318}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a0a6b0;--ground:#15181c;--card:#1e2227;--line:#343a42;--mark:#7ab4f0;--bad:#ff8f85}}
*{box-sizing:border-box}body{margin:0 auto;max-width:100rem;padding:1.5rem 1rem;font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground)}
h1{font-size:1.5rem;margin:0 0 .3rem;overflow-wrap:anywhere}h2{font-size:1rem;margin:0 0 .3rem}p{margin:.2rem 0 .5rem}.soft{color:var(--soft);font-size:13px}.bad{color:var(--bad)}
input{font:inherit;width:100%;max-width:30rem;padding:.45rem .7rem;margin:.8rem 0;border:1px solid var(--line);border-radius:6px;background:var(--card);color:var(--ink)}
.all{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr));gap:1rem}
article{background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden;display:flex;flex-direction:column;break-inside:avoid}article[hidden]{display:none}
article img{width:100%;height:12rem;object-fit:contain;background:var(--ground)}article div{padding:.7rem .8rem;overflow-wrap:anywhere}
ul{list-style:none;display:flex;flex-wrap:wrap;gap:.3rem;margin:.3rem 0;padding:0}li{border:1px solid var(--line);border-radius:99px;padding:.05rem .55rem;font-size:13px}
@media print{body{max-width:none;padding:0;font-size:9pt}input{display:none}.all{grid-template-columns:repeat(3,1fr)}}
";

/// Shows the cards that have all the words typed.
const SCRIPT: &str = "
const i=document.querySelector('input'),c=[...document.querySelectorAll('article')],n=document.querySelector('#n');
i.oninput=()=>{const w=i.value.toLowerCase().split(/\\s+/).filter(Boolean);let s=0;for(const a of c){const t=a.textContent.toLowerCase();a.hidden=!w.every(x=>t.includes(x));s+=!a.hidden}n.textContent=s};
";

/// The page.
pub fn page(folder: &str, runs: &[String], cards: &[Card], waiting: usize) -> String {
    let title = escaped(folder);
    let marked = cards.iter().filter(|card| !card.marks.is_empty()).count();
    let failed = cards.iter().filter(|card| card.failure.is_some()).count();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n\
         <p class=\"soft\"><span id=\"n\">{}</span> photos, {marked} marked, {failed} failed, {waiting} not looked at yet. By {}.</p>\n\
         <input type=\"search\" aria-label=\"Show photos with these words\" placeholder=\"Words\">\n<div class=\"all\">\n",
        cards.len(),
        escaped(&runs.join("; "))
    );
    for card in cards {
        html.push_str("<article>");
        if let Some(picture) = &card.picture {
            let _ = write!(html, "<img loading=\"lazy\" alt=\"\" src=\"{picture}\">");
        }
        html.push_str("<div>");
        for (language, structure) in &card.parts {
            let language = escaped(language);
            if let Some(title) = &structure.title {
                let _ = write!(html, "<h2 lang=\"{language}\">{}</h2>", escaped(title));
            }
            if let Some(description) = &structure.description {
                let _ = write!(html, "<p lang=\"{language}\">{}</p>", escaped(description));
            }
            if !structure.keywords.is_empty() {
                let words = structure
                    .keywords
                    .iter()
                    .map(|word| format!("<li>{}</li>", escaped(word)));
                let _ = write!(html, "<ul lang=\"{language}\">{}</ul>", words.collect::<String>());
            }
        }
        for wrong in card.marks.iter().chain(&card.failure) {
            let _ = write!(html, "<p class=\"bad\">{}</p>", escaped(wrong));
        }
        let _ = writeln!(
            html,
            "<p class=\"soft\">{}</p></div></article>",
            escaped(&card.files.join(", "))
        );
    }
    let _ = writeln!(html, "</div>\n<script>{SCRIPT}</script></body></html>");
    html
}

/// Pixels as a JPEG, as an address of data.
pub fn jpeg(rgb: &[u8], width: u32, height: u32) -> Option<String> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 80)
        .write_image(rgb, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(format!("data:image/jpeg;base64,{}", crate::base64(&bytes)))
}
