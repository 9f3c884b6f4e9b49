use super::*;

/// All fields of a message in words, and what is wrong after them.
fn in_words(message: &[u8]) -> String {
    let mut fields = Fields::new(message);
    let mut words = Vec::new();
    loop {
        match fields.next() {
            Ok(None) => return words.join(" "),
            Ok(Some((number, Content::Varint(n)))) => words.push(format!("{number}={n}")),
            Ok(Some((number, Content::Fixed64(bits)))) => words.push(format!("{number}={}", f64::from_bits(bits))),
            Ok(Some((number, Content::Bytes(bytes)))) => words.push(format!("{number}={bytes:?}")),
            Ok(Some((number, Content::Fixed32))) => words.push(format!("{number}=four")),
            Err(e) => {
                words.push(e.to_string());
                return words.join(" ");
            }
        }
    }
}

#[test]
fn fields_of_each_form_are_read_in_order() {
    let mut message = vec![0x08, 0xac, 0x02, 0x11];
    message.extend(1.5f64.to_le_bytes());
    message.extend([0x1a, 2, 7, 8, 0x25, 1, 2, 3, 4]);
    assert_eq!(in_words(&message), "1=300 2=1.5 3=[7, 8] 4=four");
    assert_eq!(in_words(b""), "");
}

#[test]
fn what_is_no_message_is_told() {
    for (message, words) in [
        (&[0x1a, 2, 7][..], "unexpected EOF"),
        (&[0x11, 1], "unexpected EOF"),
        (&[0x08], "unexpected EOF"),
        (&[0x0b], "proto: illegal wireType 3"),
        (&[0x00, 1], "proto: illegal tag 0"),
        (&[0xff; 11], "proto: integer overflow"),
        (&[0x08, 1, 0x08], "1=1 unexpected EOF"),
    ] {
        assert_eq!(in_words(message), words, "{message:?}");
    }
}

#[test]
fn repeated_numbers_are_read_packed_or_not() {
    let mut all = Vec::new();
    Content::Bytes(&[1, 0xac, 0x02]).varints(|n| all.push(n)).unwrap();
    Content::Varint(5).varints(|n| all.push(n)).unwrap();
    assert_eq!(all, [1, 300, 5]);
    let mut signed = Vec::new();
    Content::Bytes(&[0, 1, 2, 3]).zigzags(|n| signed.push(n)).unwrap();
    assert_eq!(signed, [0, -1, 1, -2]);
    let mut floats = Vec::new();
    Content::Bytes(&[0.5f64.to_le_bytes(), 2f64.to_le_bytes()].concat()).doubles(&mut floats).unwrap();
    Content::Fixed64(3f64.to_bits()).doubles(&mut floats).unwrap();
    assert_eq!(floats, [0.5, 2.0, 3.0]);
    assert_eq!(Content::Bytes(&[1, 2]).doubles(&mut floats), Err(Malformed::EndsEarly));
    assert_eq!(Content::Fixed32.varints(drop), Err(Malformed::WrongWireType));
    assert_eq!(Content::Varint(1).doubles(&mut floats), Err(Malformed::WrongWireType));
}

#[test]
fn a_message_of_a_stream_has_its_length_before_it() {
    assert_eq!(delimited(&[2, 7, 8, 9]), Ok((&[7, 8][..], &[9][..])));
    assert_eq!(delimited(&[0]), Ok((&[][..], &[][..])));
    assert_eq!(delimited(&[2, 7]), Err(Malformed::EndsEarly));
    assert_eq!(delimited(&[]), Err(Malformed::EndsEarly));
}

#[test]
fn plain_labels_are_read_until_something_is_not_plain() {
    let message = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b', 0x0a, 3, 0x0a, 1, b'c'];
    let mut fields = Fields::new(&message);
    let mut labels = Vec::new();
    fields.plain_labels(|name, value| labels.push((name, value)));
    assert_eq!(labels, [(&b"a"[..], &b"b"[..])]);
    assert!(matches!(fields.next(), Ok(Some((1, Content::Bytes([0x0a, 1, b'c']))))));
}
