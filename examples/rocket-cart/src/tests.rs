//! The way of a customer through the example.

use std::time::Duration;

use rocket::http::{ContentType, Header, Status};
use rocket::local::{asynchronous, blocking::Client};
use secure_sessions_rocket::testing;

use super::*;

fn client() -> Client {
    let (manager, _clock) = testing::manager();
    Client::tracked(rocket(manager)).unwrap()
}

fn page(client: &Client) -> String {
    client.get("/").dispatch().into_string().unwrap()
}

fn posted(client: &Client, path: &'static str, form: &str) -> Status {
    client.post(path).header(ContentType::Form).body(form).dispatch().status()
}

#[test]
fn what_is_added_is_in_the_cart_until_it_is_ordered() {
    let client = client();
    assert!(page(&client).contains("<p>0.00</p>"));
    assert_eq!(posted(&client, "/add", "article=pen&quantity=2"), Status::SeeOther);
    assert_eq!(posted(&client, "/add", "article=ink&quantity=1"), Status::SeeOther);
    assert_eq!(posted(&client, "/add", "article=pen&quantity=1"), Status::SeeOther);
    let cart = page(&client);
    assert!(cart.contains("<li>1 x ink</li><li>3 x pen</li>") && cart.contains("<p>9.50</p>"), "{cart}");

    let token = cart.split("value=\"").last().unwrap().split('"').next().unwrap();
    assert_eq!(posted(&client, "/order", "token=forged"), Status::NotFound);
    assert!(page(&client).contains("<p>9.50</p>"));
    assert_eq!(posted(&client, "/order", &format!("token={token}")), Status::SeeOther);
    assert!(page(&client).contains("<p>0.00</p>"));
}

#[test]
fn what_is_not_in_the_catalogue_does_not_come_into_the_cart() {
    let client = client();
    assert_eq!(posted(&client, "/add", "article=<script>&quantity=1"), Status::NotFound);
    assert_eq!(posted(&client, "/add", "article=pen&quantity=0"), Status::UnprocessableEntity);
    assert!(page(&client).contains("<ul></ul>"));
}

#[rocket::async_test]
async fn a_cart_that_nobody_touches_for_half_an_hour_is_gone() {
    let (manager, clock) = testing::manager();
    let client = asynchronous::Client::tracked(rocket(manager.clone())).await.unwrap();
    let articles = BTreeMap::from([("ink", 2)]);
    let cookie = testing::session(&manager).insert("articles", articles).cookie().await.unwrap();
    let page = || client.get("/").header(Header::new("Cookie", cookie.clone()));
    assert!(page().dispatch().await.into_string().await.unwrap().contains("<li>2 x ink</li>"));
    clock.advance(Duration::from_secs(32 * 60));
    assert!(page().dispatch().await.into_string().await.unwrap().contains("<ul></ul>"));
}
