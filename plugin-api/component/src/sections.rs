//! Sections of modules and components: both have the same.

/// The contents of a module's custom section: each section is an id, a length (LEB128) and so many bytes; custom ones have id 0 and
/// begin with their name (WebAssembly core specification, 5.5).
pub fn custom_section<'a>(module: &'a [u8], wanted: &str) -> Result<Option<&'a [u8]>, &'static str> {
    let mut rest = module.get(8..).ok_or("it is shorter than a module's header")?;
    while let Some((&id, after)) = rest.split_first() {
        let (content, next) = prefixed(after)?;
        rest = next;
        if id == 0 {
            let (name, data) = prefixed(content)?;
            if name == wanted.as_bytes() {
                return Ok(Some(data));
            }
        }
    }
    Ok(None)
}

/// Splits bytes that begin with their length from what follows them.
fn prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let mut length = 0usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes[index + 1..]
                .split_at_checked(length)
                .ok_or("a section ends beyond the module's end");
        }
    }
    Err("a section's length is not a LEB128 number of 32 bits")
}

/// Puts a custom section behind everything else.
pub fn append_custom_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    component.push(0);
    component.extend(leb128(content.len()));
    component.extend(content);
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The same without its custom sections of this name. Sections of what is inside are left alone.
pub fn without_custom_section(bytes: &[u8], name: &str) -> Result<Vec<u8>, &'static str> {
    let (header, mut rest) = bytes.split_at_checked(8).ok_or("it is shorter than a header")?;
    let mut kept = header.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (content, next) = prefixed(after)?;
        let section = &rest[..rest.len() - next.len()];
        if id != 0 || prefixed(content)?.0 != name.as_bytes() {
            kept.extend_from_slice(section);
        }
        rest = next;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_after_others() {
        // A type section of 2 bytes, then a custom section "ab" holding 7, 8.
        let module = [
            b"\0asm\x01\0\0\0".as_slice(),
            &[1, 2, 9, 9, 0, 5, 2, b'a', b'b', 7, 8],
        ]
        .concat();
        assert_eq!(custom_section(&module, "ab").unwrap(), Some([7, 8].as_slice()));
        assert_eq!(custom_section(&module, "a").unwrap(), None);
        assert!(custom_section(&module[..module.len() - 1], "ab").is_err());
    }

    #[test]
    fn long_sections_are_found_again() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        append_custom_section(&mut module, "name", &[5; 300]);
        // 305 bytes: 0xb1 0x02 in LEB128.
        assert_eq!(&module[8..11], &[0, 0xb1, 0x02]);
        assert_eq!(
            custom_section(&module, "name").unwrap(),
            Some([5; 300].as_slice())
        );
    }

    #[test]
    fn sections_are_taken_away_by_name() {
        let mut module = b"\0asm\x0d\0\x01\0".to_vec();
        append_custom_section(&mut module, "keep", &[1]);
        let expected = module.clone();
        append_custom_section(&mut module, "drop", &[2; 200]);
        assert_eq!(without_custom_section(&module, "drop").unwrap(), expected);
        assert_eq!(without_custom_section(&module, "other").unwrap(), module);
        assert!(without_custom_section(&module[..module.len() - 1], "drop").is_err());
    }
}
