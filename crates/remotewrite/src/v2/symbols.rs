//! The table of texts that a request begins with.

use protowire::{Content, Fields, Malformed};

/// Most symbols of a request. It protects memory: an empty symbol is two bytes of the request, and its entry is twelve times that.
pub const SYMBOLS_MAX: usize = 1 << 20;

/// A text, or what should be one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Symbol<'a> {
    Text(&'a str),
    NotUtf8(&'a [u8]),
}

impl<'a> Symbol<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Symbol::Text(text) => text.as_bytes(),
            Symbol::NotUtf8(bytes) => bytes,
        }
    }

    /// The text, with replacements for what is none.
    pub(crate) fn to_text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// All symbols, checked once, however many point to them.
pub(crate) struct Symbols<'a>(Vec<Symbol<'a>>);

impl<'a> Symbols<'a> {
    /// Those of a whole request: they may stand behind what points to them.
    pub(crate) fn read(request: &'a [u8]) -> Result<Symbols<'a>, String> {
        let mut symbols = Vec::new();
        let mut fields = Fields::new(request);
        while let Some((number, content)) = fields.next().map_err(|e| e.to_string())? {
            match (number, content) {
                (4, Content::Bytes(_)) if symbols.len() >= SYMBOLS_MAX => {
                    return Err(format!("more than {SYMBOLS_MAX} symbols in a request"));
                }
                (4, Content::Bytes(bytes)) => {
                    symbols.push(std::str::from_utf8(bytes).map_or(Symbol::NotUtf8(bytes), Symbol::Text));
                }
                (4, _) => return Err(Malformed::WrongWireType.to_string()),
                _ => {}
            }
        }
        Ok(Symbols(symbols))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The symbol that a reference points to.
    pub(crate) fn get(&self, reference: u64) -> Option<Symbol<'a>> {
        self.0.get(usize::try_from(reference).ok()?).copied()
    }
}
