// Packs `catalogue/models.tsv` into few bytes. Only the build script and the tests contain this file; `table` reads what
// it writes:
//
// - the date, 10 bytes;
// - three lists of facts that many models share: capabilities, sizes, prices;
// - for each table its name and its models. Of a name, only what differs from the name before is kept.
//
// A list, a name and a table begin with their length. Numbers have 7 bits in each byte, the lowest first. A number that may
// be unknown is one higher, and 0 means unknown.

use std::collections::BTreeMap;

/// The columns of capabilities, in the order of their bits.
const CAPABILITIES: [&str; 8] =
    ["tools", "json_schema", "vision", "audio", "audio_output", "image_output", "files", "reasoning"];
/// The columns before them.
const COLUMNS: &str =
    "table\tmodel\tcontext_window\tmax_output_tokens\tinput\tcached_input\toutput\tdearer_above\t";
/// The maximum length of a name in bytes.
const MAX_NAME: usize = 128;
/// Decimals of a price in dollars that fit into millionths.
const DECIMALS: usize = 6;

struct Row<'a> {
    table: &'a str,
    model: &'a str,
    /// Capabilities, sizes and price, each as the bytes of its entry in a list.
    facts: [Vec<u8>; 3],
}

/// The packed form of the file.
///
/// # Errors
/// Says which line is wrong.
pub fn packed(text: &str) -> Result<Vec<u8>, String> {
    let mut date = None;
    let mut header = None;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem: &str| format!("line {}: {problem}", index.saturating_add(1));
        if let Some(comment) = line.strip_prefix('#') {
            date = date.or_else(|| comment.strip_prefix(" as of ")?.get(..10));
        } else if header.is_none() {
            let names = line.strip_prefix(COLUMNS).ok_or_else(|| wrong("has unexpected columns"))?;
            if !names.split('\t').eq(CAPABILITIES) {
                return Err(wrong("has unexpected capabilities"));
            }
            header = Some(());
        } else {
            let row = row(line).map_err(|problem| wrong(&problem))?;
            if rows.last().is_some_and(|last| (last.table, last.model) >= (row.table, row.model)) {
                return Err(wrong("is not sorted, or is there twice"));
            }
            rows.push(row);
        }
    }
    let mut out = date.ok_or("has no line `# as of` with a date")?.as_bytes().to_vec();
    let lists: Vec<Vec<&[u8]>> = (0..3).map(|which| shared(&rows, which)).collect();
    for list in &lists {
        section(&mut out, &list.concat());
    }
    for group in rows.chunk_by(|one, other| one.table == other.table) {
        let (mut models, mut last) = (Vec::new(), "");
        for row in group {
            let same = last.bytes().zip(row.model.bytes()).take_while(|(one, other)| one == other).count();
            number(&mut models, same as u64);
            section(&mut models, row.model.as_bytes().get(same..).unwrap_or_default());
            for (list, facts) in lists.iter().zip(&row.facts) {
                let place = list.iter().position(|entry| *entry == &**facts).ok_or("loses facts")?;
                number(&mut models, place as u64);
            }
            last = row.model;
        }
        section(&mut out, group.first().map_or("", |row| row.table).as_bytes());
        section(&mut out, &models);
    }
    Ok(out)
}

/// The different facts of one sort, the most frequent ones first.
fn shared<'a>(rows: &'a [Row<'_>], which: usize) -> Vec<&'a [u8]> {
    let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
    for facts in rows.iter().filter_map(|row| row.facts.get(which)) {
        let count = counts.entry(facts).or_default();
        *count = count.saturating_add(1);
    }
    let mut list: Vec<_> = counts.into_iter().collect();
    list.sort_by(|(_, one), (_, other)| other.cmp(one));
    list.into_iter().map(|(facts, _)| facts).collect()
}

fn row(line: &str) -> Result<Row<'_>, String> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().ok_or("has too few fields");
    let (table, model) = (next()?, next()?);
    for name in [table, model] {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
        if !is_plain || name.is_empty() || name.len() > MAX_NAME {
            return Err(format!("`{name}` is not a name in lower case"));
        }
    }
    let (mut sizes, mut price) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        known(&mut sizes, next()?, |text| text.parse().ok())?;
    }
    for _ in 0..3 {
        known(&mut price, next()?, micros)?;
    }
    known(&mut price, next()?, |text| text.parse().ok())?;
    let (mut is_known, mut has) = (0_u64, 0_u64);
    for bit in 0..CAPABILITIES.len() {
        let mask = 1 << bit;
        match next()? {
            "yes" => (is_known, has) = (is_known | mask, has | mask),
            "no" => is_known |= mask,
            "-" => {}
            other => return Err(format!("`{other}` is not `yes`, `no` or `-`")),
        }
    }
    if fields.next().is_some() {
        return Err("has too many fields".to_owned());
    }
    let mut capabilities = Vec::new();
    number(&mut capabilities, is_known);
    number(&mut capabilities, has);
    Ok(Row { table, model, facts: [capabilities, sizes, price] })
}

/// Appends a number that may be unknown.
fn known(out: &mut Vec<u8>, text: &str, read: impl Fn(&str) -> Option<u64>) -> Result<(), String> {
    let value = if text == "-" { Some(0) } else { read(text).and_then(|value| value.checked_add(1)) };
    number(out, value.ok_or_else(|| format!("`{text}` is not a number"))?);
    Ok(())
}

/// Dollars in millionths, without a detour over binary fractions.
fn micros(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{decimals:0<DECIMALS$}");
    (decimals.len() <= DECIMALS && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn section(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
