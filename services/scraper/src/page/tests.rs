use crate::fuzzing::fuzz_pages;

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// Pages that have much in common, as those of a target do, with some damage.
#[test]
fn what_is_remembered_does_not_change_what_a_page_says() {
    const LINES: [&str; 16] = [
        "# TYPE h histogram\n",
        "# TYPE g gauge\n",
        "# TYPE s summary\n",
        "h_bucket{le=\"1\"} 1\n",
        "h_bucket{le=\"+Inf\"} 2\n",
        "g 1\n",
        "g 2 17\n",
        "g{a=\"1\"} NaN\n",
        "g{a=\"1\",b=\"2\"} 3\n",
        "g{b=\"2\",a=\"1\"} 4\n",
        "g{drop=\"x\"} 5\n",
        "g{job=\"x\"} 6\n",
        "late 1 -9999999\n",
        "g{long=\"123456789012345678901234567890123456789012345\"} 1\n",
        "# HELP g Some.\n",
        "c_total 1 # {t=\"x\"} 1\n",
    ];
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        // Without the types in every second run: with them less is compared.
        let first = random.below(2) * 3;
        let mut bytes = vec![u8::try_from(random.below(2)).unwrap()];
        let base: Vec<usize> = (0..random.below(50)).map(|_| first + random.below(LINES.len() - first)).collect();
        for _ in 0..4 {
            for line in &base {
                match random.below(12) {
                    0 => {}
                    1 => bytes.extend(LINES[first + random.below(LINES.len() - first)].bytes()),
                    _ => bytes.extend(LINES[*line].bytes()),
                }
            }
            if random.below(2) == 0 {
                bytes.extend(b"# EOF\n");
            }
            if random.below(3) == 0 && bytes.len() > 1 {
                let at = 1 + random.below(bytes.len() - 1);
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            bytes.push(0xff);
        }
        fuzz_pages(&bytes);
    }
}
