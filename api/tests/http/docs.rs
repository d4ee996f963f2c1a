//! The pages against the code: every code and every route is explained.

use std::path::Path;

use callsheet_api::CODES;

use crate::server::Server;

fn page(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(root.join(path)).unwrap()
}

#[test]
fn every_code_has_its_section_with_status_and_advice() {
    let text = page("errors.md");
    for code in CODES {
        let heading = format!("### `{}`", code.code);
        let (_, rest) = text.split_once(&heading).unwrap_or_else(|| panic!("no `{heading}`"));
        let section = rest.split("\n#").next().unwrap();
        let status = format!("HTTP {}", code.status);
        assert!(section.contains(&status), "`{}` does not say `{status}`", code.code);
        for part in ["Meaning:", "Do:"] {
            assert!(section.contains(part), "`{}` has no `{part}`", code.code);
        }
    }
}

#[tokio::test]
async fn every_route_is_in_the_reference() {
    let server = Server::start().await;
    let document = server.get_json("/openapi.json").await;
    let text = page("reference/http.md");
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let route = format!("`{} {path}`", method.to_uppercase());
            assert!(text.contains(&route), "no {route}");
        }
    }
}
