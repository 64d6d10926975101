// Markdown to nodes of a document. Text becomes text nodes only, never HTML: what a model writes cannot run.

const BLOCK = {
  fence: /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/,
  heading: /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/,
  rule: /^ {0,3}([-*_])(\s*\1){2,}\s*$/,
  quote: /^ {0,3}>\s?(.*)$/,
  bullet: /^(\s*)[-*+]\s+(.*)$/,
  number: /^(\s*)(\d{1,9})[.)]\s+(.*)$/,
  tableRule: /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/,
};

/** The text as nodes. Unfinished text, as while it is streamed, gives the nodes of what is there. */
export function markdown(text) {
  const root = document.createDocumentFragment();
  blocks(text.replace(/\r\n?/g, "\n").split("\n"), root, 0);
  return root;
}

function blocks(lines, parent, depth) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) { at += 1; continue; }
    const fence = BLOCK.fence.exec(line);
    if (fence) {
      const end = lines.findIndex((other, index) => index > at && other.trim().startsWith(fence[1]) && !other.trim().slice(fence[1].length).trim());
      const stop = end < 0 ? lines.length : end;
      const code = add(add(parent, "pre"), "code");
      code.textContent = lines.slice(at + 1, stop).join("\n");
      at = stop + 1;
      continue;
    }
    const heading = BLOCK.heading.exec(line);
    if (heading) {
      // The page's own heading is the first; an answer's begin below it.
      inline(heading[2], add(parent, `h${Math.min(6, heading[1].length + 1)}`));
      at += 1;
      continue;
    }
    if (BLOCK.rule.test(line)) { add(parent, "hr"); at += 1; continue; }
    if (BLOCK.quote.test(line) && depth < 8) {
      const inner = [];
      for (; at < lines.length && BLOCK.quote.test(lines[at]); at += 1) inner.push(BLOCK.quote.exec(lines[at])[1]);
      blocks(inner, add(parent, "blockquote"), depth + 1);
      continue;
    }
    if ((BLOCK.bullet.test(line) || BLOCK.number.test(line)) && depth < 8) { at = list(lines, at, parent, depth); continue; }
    if (line.includes("|") && BLOCK.tableRule.test(lines[at + 1] ?? "")) { at = table(lines, at, parent); continue; }
    const words = [];
    for (; at < lines.length && lines[at].trim() && (!words.length || !starts(lines[at])); at += 1) words.push(lines[at].trim());
    inline(words.join("\n"), add(parent, "p"));
  }
}

function starts(line) {
  return [BLOCK.fence, BLOCK.heading, BLOCK.rule, BLOCK.quote, BLOCK.bullet, BLOCK.number].some((kind) => kind.test(line));
}

function list(lines, start, parent, depth) {
  const numbered = BLOCK.number.exec(lines[start]);
  const kind = numbered ? BLOCK.number : BLOCK.bullet;
  const indent = kind.exec(lines[start])[1].length;
  const element = add(parent, numbered ? "ol" : "ul");
  if (numbered && numbered[2] !== "1") element.start = Number(numbered[2]);
  let at = start;
  while (at < lines.length) {
    const item = kind.exec(lines[at]);
    if (!item || item[1].length !== indent) break;
    const inner = [item[item.length - 1]];
    for (at += 1; at < lines.length; at += 1) {
      const line = lines[at];
      const next = kind.exec(line);
      if (next && next[1].length === indent) break;
      const deeper = /^\s*/.exec(line)[0].length > indent;
      if (!line.trim() ? !/^\s/.test(lines[at + 1] ?? "") : !deeper) break;
      inner.push(line.slice(Math.min(/^\s*/.exec(line)[0].length, indent + 2)));
    }
    const entry = add(element, "li");
    if (inner.length === 1) inline(inner[0], entry);
    else blocks(inner, entry, depth + 1);
    while (at < lines.length && !lines[at].trim() && kind.test(lines[at + 1] ?? "")) at += 1;
  }
  return at;
}

function table(lines, start, parent) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const element = add(parent, "table");
  const row = (line, kind) => {
    const entry = add(element, "tr");
    for (const cell of cells(line)) inline(cell, add(entry, kind));
  };
  row(lines[start], "th");
  let at = start + 2;
  for (; at < lines.length && lines[at].includes("|") && lines[at].trim(); at += 1) row(lines[at], "td");
  return at;
}

const INLINE = /(`+)([\s\S]*?[^`])\1(?!`)|(\*\*|__)(?=\S)([\s\S]*?\S)\3|(\*|_)(?=\S)([\s\S]*?\S)\5(?!\w)|~~(?=\S)([\s\S]*?\S)~~|\[([^\]\n]*)\]\(([^()\s]+)\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])/;

function inline(text, parent) {
  let rest = text;
  while (rest) {
    const found = INLINE.exec(rest);
    if (!found) break;
    plain(rest.slice(0, found.index), parent);
    const [whole, ticks, code, strong, strongText, , emphasis, struck, label, target, address] = found;
    if (ticks) add(parent, "code").textContent = code;
    else if (strong) inline(strongText, add(parent, "strong"));
    else if (emphasis !== undefined) inline(emphasis, add(parent, "em"));
    else if (struck !== undefined) inline(struck, add(parent, "s"));
    else link(label ?? address, target ?? address, parent);
    rest = rest.slice(found.index + whole.length);
  }
  plain(rest, parent);
}

function link(label, target, parent) {
  // Only what opens a page: no scripts, no data, no requests by pictures.
  if (!/^(https?:\/\/|mailto:)/i.test(target)) { plain(label, parent); return; }
  const element = add(parent, "a");
  element.href = target;
  element.rel = "noopener noreferrer nofollow";
  element.target = "_blank";
  element.textContent = label || target;
}

function plain(text, parent) {
  text.split("\n").forEach((line, index) => {
    if (index) add(parent, "br");
    if (line) parent.append(line);
  });
}

function add(parent, kind) {
  const element = document.createElement(kind);
  parent.append(element);
  return element;
}
