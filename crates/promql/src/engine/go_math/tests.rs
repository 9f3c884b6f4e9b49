//! What Go 1.26 answers on amd64 with FMA, as bits: `function x y result`, y where there are two. `go.txt` was made once by a
//! seeded generator of numbers of all sizes.

use super::*;

const TABLE: &str = include_str!("go.txt");

#[test]
fn every_function_gives_the_bits_that_go_gives() {
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in TABLE.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [x, y, expected] = [1, 2, 3].map(|at: usize| f64::from_bits(u64::from_str_radix(words[at], 16).unwrap()));
        let found = match words[0] {
            "exp" => exp(x),
            "exp2" => exp2(x),
            "ln" => ln(x),
            "log2" => log2(x),
            "log10" => log10(x),
            "sin" => sin(x),
            "cos" => cos(x),
            "tan" => tan(x),
            "asin" => asin(x),
            "acos" => acos(x),
            "atan" => atan(x),
            "sinh" => sinh(x),
            "cosh" => cosh(x),
            "tanh" => tanh(x),
            "asinh" => asinh(x),
            "acosh" => acosh(x),
            "atanh" => atanh(x),
            "pow" => pow(x, y),
            "atan2" => atan2(x, y),
            other => panic!("{other}"),
        };
        rows += 1;
        if found.to_bits() != expected.to_bits() && !(found.is_nan() && expected.is_nan()) {
            wrong.push(format!("{}({x:?}, {y:?}) is {found:?}, expected {expected:?}", words[0]));
        }
    }
    assert!(wrong.is_empty(), "{} of {rows} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert_eq!(rows, 1500);
}
