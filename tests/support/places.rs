//! Where networks are, as files tell it.

/// A database of one IPv4 network of 24 bits, which is in Berlin: a path of 24 nodes to one record.
pub(crate) fn database(network: [u8; 3]) -> Vec<u8> {
    const NODES: u32 = 24;
    let text = |text: &str| [&[0x40 | text.len() as u8][..], text.as_bytes()].concat();
    let map = |entries: &[(&str, Vec<u8>)]| {
        let body = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat());
        [0xe0 | entries.len() as u8].into_iter().chain(body).collect::<Vec<u8>>()
    };
    let list = |items: &[Vec<u8>]| [&[items.len() as u8, 4][..], &items.concat()].concat();
    let short = |number: u8| vec![0xa1, number];
    let mut file = Vec::new();
    for node in 0..NODES {
        let bit = network[node as usize / 8] >> (7 - node % 8) & 1;
        let next = if node + 1 < NODES { node + 1 } else { NODES + 16 };
        let sides = if bit == 0 { [next, NODES] } else { [NODES, next] };
        sides.iter().for_each(|side| file.extend(&side.to_be_bytes()[1..]));
    }
    file.extend([0; 16]);
    file.extend(map(&[
        ("country", map(&[("iso_code", text("DE"))])),
        ("subdivisions", list(&[map(&[("iso_code", text("BE"))])])),
        ("city", map(&[("names", map(&[("de", text("Berlin")), ("en", text("Berlin"))]))])),
        ("location", map(&[("time_zone", text("Europe/Berlin"))])),
    ]));
    file.extend(b"\xab\xcd\xefMaxMind.com");
    file.extend(map(&[
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", vec![1, 2, 1]),
        ("database_type", text("Test-City")),
        ("description", map(&[("en", text("Test"))])),
        ("ip_version", short(4)),
        ("languages", list(&[text("en")])),
        ("node_count", vec![0xc1, NODES as u8]),
        ("record_size", short(24)),
    ]));
    file
}
