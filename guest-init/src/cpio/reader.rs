//! Reading an archive back, for tests.

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) mode: u32,
    pub(crate) inode: u32,
    pub(crate) device: (u32, u32),
    pub(crate) content: Vec<u8>,
}

/// The entries of an archive up to its end.
pub(crate) fn read(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let (header, rest) = bytes.split_at(110);
        assert_eq!(&header[..6], b"070701");
        let fields: Vec<u32> = header[6..]
            .chunks(8)
            .map(|field| u32::from_str_radix(std::str::from_utf8(field).unwrap(), 16).unwrap())
            .collect();
        let [inode, mode, uid, gid, _, mtime, size, _, _, major, minor, name_size, check] =
            fields[..]
        else {
            panic!("{} fields", fields.len());
        };
        assert_eq!((uid, gid, mtime, check), (0, 0, 0, 0));
        let (name_size, size) = (name_size as usize, size as usize);
        let name = std::str::from_utf8(&rest[..name_size]).unwrap();
        let name = name.strip_suffix('\0').unwrap().to_owned();
        let content_at = (110 + name_size).next_multiple_of(4) - 110;
        let content = rest[content_at..content_at + size].to_vec();
        bytes = &rest[content_at + size.next_multiple_of(4)..];
        if name == "TRAILER!!!" {
            assert!(bytes.is_empty(), "{} bytes after the end", bytes.len());
            return entries;
        }
        entries.push(Entry { name, mode, inode, device: (major, minor), content });
    }
}
