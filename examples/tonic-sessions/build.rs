//! Writes the client and the server of the service `Counter`. With a `.proto` file and `protoc` at hand this would be
//! `tonic_prost_build::compile_protos`.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str| {
        let method = Method::builder().name(name).route_name(route).codec_path("tonic_prost::ProstCodec");
        method.input_type("crate::Nothing").output_type("crate::Visits").build()
    };
    let counter = Service::builder().package("example").name("Counter");
    let counter = counter.method(method("count", "Count")).method(method("logout", "Logout"));
    Builder::new().build_transport(false).compile(&[counter.build()]);
}
