//! The client against canned answers.

use std::net::TcpListener;
use std::thread;

use super::*;

/// Serves one answer per connection round, then closes; returns what the client makes of `requests` requests.
fn check(answers: &'static [&'static str], requests: usize) -> Vec<Result<(u16, String)>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            for part in answer.split('|') {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while read_line(&mut reader).unwrap() != "" {}
                stream.write_all(part.as_bytes()).unwrap();
            }
        }
    });
    let mut client = Client::new(&address, Duration::from_secs(5));
    let results =
        (0..requests).map(|_| client.get("/x").map(|r| (r.status, String::from_utf8(r.body).unwrap()))).collect();
    server.join().unwrap();
    results
}

#[test]
fn a_body_ends_by_length_by_chunks_or_by_close() {
    for answer in [
        &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"][..],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"][..],
        &["HTTP/1.0 200 OK\r\n\r\nhello"][..],
    ] {
        let results = check(answer, 1);
        assert_eq!(results[0].as_ref().unwrap(), &(200, "hello".to_string()));
    }
}

#[test]
fn a_connection_closed_while_idle_is_opened_again() {
    let results = check(
        &[
            "HTTP/1.1 204 No Content\r\n\r\n|HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
        ],
        3,
    );
    let results: Vec<_> = results.into_iter().map(|result| result.unwrap()).collect();
    assert_eq!(results, [(204, String::new()), (404, "a".to_string()), (200, "b".to_string())]);
}

#[test]
fn a_torn_answer_is_an_error() {
    assert!(check(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"], 1)[0].is_err());
    assert!(check(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe"], 1)[0].is_err());
    assert!(check(&["HTTP/2 200\r\n\r\n"], 1)[0].is_err());
    assert!(check(&[""], 1)[0].is_err());
}

#[test]
fn all_but_unreserved_characters_are_escaped() {
    assert_eq!(percent("a_b{c=\"d é\"}"), "a_b%7Bc%3D%22d%20%C3%A9%22%7D");
}
