//! A service embeds Callsheet with two typed steps of its own: a shop adds up an order.

use callsheet::{Engine, Step, StepContext, StepError, StepResult, Submit};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

const ORDER: &str = r#"
name: order
steps:
  - { id: price, uses: shop.price, for_each: "{{ input.goods }}", with: "{{ item }}" }
  - { id: receipt, uses: shop.receipt, with: { cents: "{{ steps.price }}" } }
output: "{{ steps.receipt }}"
"#;

/// A step as an async function; its answer says that trying again cannot help.
async fn price(good: String, _: StepContext) -> StepResult<u64> {
    match good.as_str() {
        "tea" => Ok(350),
        "cup" => Ok(1200),
        other => Err(StepError::fatal("shop.unknown", format!("we do not sell `{other}`"))),
    }
}

#[derive(Deserialize, JsonSchema)]
struct Prices {
    cents: Vec<u64>,
}

/// A step as a type, with something of its own that its body needs.
struct Printer(&'static str);

impl Step for Printer {
    type Input = Prices;
    type Output = String;

    fn kind(&self) -> String {
        "shop.receipt".into()
    }

    async fn run(&self, prices: Prices, _: StepContext) -> StepResult<String> {
        let sum: u64 = prices.cents.iter().sum();
        Ok(format!("{}: {} goods, {}.{:02}", self.0, prices.cents.len(), sum / 100, sum % 100))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = tempfile::tempdir()?; // a service names a directory that stays
    let builder = Engine::builder().data_dir(data.path()).workflow(ORDER);
    let engine = builder.step_fn("shop.price", price).step(Printer("Tea & Co")).open().await?;
    let order = Submit::named("order", json!({ "goods": ["tea", "cup", "tea"] }));
    let view = engine.submit(order).await?.job.wait().await?;
    println!("{}: {}", view.head.status.as_str(), view.state.output().unwrap_or(&json!(null)));
    engine.shutdown().await;
    Ok(())
}
