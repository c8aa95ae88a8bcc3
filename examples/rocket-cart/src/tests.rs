//! The way of a customer through the example.

use rocket::http::{ContentType, Status};
use rocket::local::blocking::Client;

use super::*;

fn client() -> Client {
    let manager = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new()).insecure_dev();
    Client::tracked(rocket(manager.build().unwrap())).unwrap()
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
