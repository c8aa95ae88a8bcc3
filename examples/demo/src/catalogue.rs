//! The products that the shop sells, and its money.

use serde::{Deserialize, Serialize};

/// Something to put into the cart.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Stands in the cart, and so in the cookie.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// In euro cents.
    pub cents: u32,
}

/// All products.
pub const PRODUCTS: [Product; 6] = [
    Product { id: "lamp", name: "Desk lamp", about: "Walnut and brass, warm white", cents: 8900 },
    Product { id: "kettle", name: "Kettle", about: "Gooseneck, holds its temperature", cents: 6450 },
    Product { id: "notebook", name: "Notebook", about: "Dotted, 192 pages, lies flat", cents: 1800 },
    Product { id: "pencils", name: "Pencils", about: "A dozen, cedar, HB to 4B", cents: 1290 },
    Product { id: "mug", name: "Mug", about: "Stoneware, 300 ml", cents: 2100 },
    Product { id: "chair", name: "Reading chair", about: "Beech, wool, made to order", cents: 64000 },
];

/// The product with this id.
#[must_use]
pub fn product(id: &str) -> Option<Product> {
    PRODUCTS.into_iter().find(|product| product.id == id)
}

/// The currency that prices are shown in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Currency {
    /// Euro, which prices are kept in.
    #[default]
    #[serde(rename = "EUR")]
    Euro,
    /// US dollar.
    #[serde(rename = "USD")]
    Dollar,
    /// Yen.
    #[serde(rename = "JPY")]
    Yen,
}

impl Currency {
    /// Every currency.
    pub const ALL: [Self; 3] = [Self::Euro, Self::Dollar, Self::Yen];

    /// Its ISO 4217 code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Euro => "EUR",
            Self::Dollar => "USD",
            Self::Yen => "JPY",
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Euro => "Euro",
            Self::Dollar => "US dollar",
            Self::Yen => "Yen",
        }
    }

    /// A price in euro cents, at the demo's fixed rates.
    #[must_use]
    pub fn format(self, cents: u32) -> String {
        let cents = u64::from(cents);
        let decimal = |sign: &str, cents: u64| format!("{sign}{}.{:02}", cents / 100, cents % 100);
        match self {
            Self::Euro => decimal("€", cents),
            Self::Dollar => decimal("$", cents * 110 / 100),
            Self::Yen => format!("¥{}", cents * 165 / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_written_as_their_currency_is() {
        let prices = Currency::ALL.map(|currency| currency.format(1805));
        assert_eq!(prices, ["€18.05", "$19.85", "¥2978"]);
    }

    #[test]
    fn products_are_found_by_their_id() {
        assert_eq!(product("mug").map(|product| product.name), Some("Mug"));
        assert!(product("yacht").is_none());
    }
}
