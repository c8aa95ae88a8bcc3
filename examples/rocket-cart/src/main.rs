//! A shopping cart in the session: `cargo run -p rocket-cart`, then open http://127.0.0.1:8000.

use std::collections::BTreeMap;

use rocket::form::Form;
use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{Build, FromForm, Rocket, get, post, routes, uri};
use secure_sessions_rocket::{Keyring, MemoryStore, Session, SessionError, SessionFairing, SessionManager, Typed};
use serde::{Deserialize, Serialize};

/// Stands for your catalogue: articles and their prices in cents.
const CATALOGUE: [(&str, u32); 3] = [("pen", 120), ("ink", 590), ("paper", 350)];

/// The contents of the sealed cookie in the browser. Each field is a key of the session's data.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Cart {
    articles: BTreeMap<String, u32>,
}

#[derive(FromForm)]
struct Choice<'r> {
    article: &'r str,
    #[field(validate = range(1..100))]
    quantity: u32,
}

#[get("/")]
fn show(cart: Typed<Cart>, session: Session) -> Result<RawHtml<String>, SessionError> {
    // Only what is in the catalogue comes into the cart: there is nothing to escape.
    let rows: String = cart.articles.iter().map(|(article, n)| format!("<li>{n} x {article}</li>")).collect();
    let options: String = CATALOGUE.iter().map(|(article, _)| format!("<option>{article}</option>")).collect();
    let price = |article: &str| CATALOGUE.iter().find(|(name, _)| *name == article).map_or(0, |(_, cents)| *cents);
    let total: u32 = cart.articles.iter().map(|(article, n)| n * price(article)).sum();
    let token = session.csrf_token()?;
    Ok(RawHtml(format!(
        r#"<!doctype html><title>Cart</title><ul>{rows}</ul><p>{}.{:02}</p><form method="post" action="/add">
<select name="article">{options}</select> <input name="quantity" type="number" value="1"> <button>Add</button></form>
<form method="post" action="/order"><input name="token" type="hidden" value="{token}"><button>Order</button></form>"#,
        total / 100,
        total % 100,
    )))
}

#[post("/add", data = "<choice>")]
fn add(mut cart: Typed<Cart>, choice: Form<Choice<'_>>) -> Result<Option<Redirect>, SessionError> {
    if !CATALOGUE.iter().any(|(article, _)| *article == choice.article) {
        return Ok(None);
    }
    let (article, quantity) = (choice.article.to_owned(), choice.quantity);
    // Runs again on the newest cart if two tabs add at once: neither is lost.
    cart.update(move |cart| {
        let n = cart.articles.entry(article.clone()).or_default();
        *n = n.saturating_add(quantity).min(99);
    })?;
    Ok(Some(Redirect::to(uri!(show))))
}

/// SameSite=Lax already keeps the forms of other sites out; what costs money asks for the token as well.
#[post("/order", data = "<token>")]
fn order(mut cart: Typed<Cart>, session: Session, token: Form<Token<'_>>) -> Result<Option<Redirect>, SessionError> {
    if !session.is_csrf_token(token.token) {
        return Ok(None);
    }
    // Here you would keep the order.
    cart.set(Cart::default())?;
    Ok(Some(Redirect::to(uri!(show))))
}

#[derive(FromForm)]
struct Token<'r> {
    token: &'r str,
}

fn rocket(manager: SessionManager) -> Rocket<Build> {
    rocket::build().mount("/", routes![show, add, order]).attach(SessionFairing::new(manager))
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    rocket(manager.clone()).launch().await?;
    // A change whose client hung up is written too, before the process ends.
    manager.drained().await;
    Ok(())
}

#[cfg(test)]
mod tests;
