//! The endpoint of browsers that bind sessions to devices: it registers keys and renews tickets.
//!
//! Neither request depends on a cookie. A browser sends them with the initiator of the request that caused them, and
//! so, after a link from another site, without a cookie that is `SameSite`.

use self::answer::DeviceAnswering;
use crate::adapter::head::RequestHead;
use crate::manager::SessionManager;

pub(crate) mod answer;
#[cfg(feature = "device")]
mod endpoint;
#[cfg(feature = "device")]
mod instructions;
#[cfg(feature = "device")]
mod session;

impl SessionManager {
    /// Returns the answer to a request of a browser that registers a device or renews its ticket; `None` for every
    /// other request. See [`DeviceBound`](crate::DeviceBound).
    ///
    /// An adapter calls it with each request's path, before anything else of the application sees the request: a check
    /// of CSRF tokens or of the origin would refuse what browsers send here. The head is read before this call returns.
    #[must_use]
    pub fn device_endpoint(&self, head: &dyn RequestHead, path: &str) -> Option<DeviceAnswering> {
        let devices = self.devices()?;
        devices.set_answered();
        #[cfg(feature = "device")]
        let answering = endpoint::answer(self, devices, head, path);
        #[cfg(not(feature = "device"))]
        let answering = {
            let _ = (devices, head, path);
            None
        };
        answering
    }

    /// Returns the paths that [`device_endpoint`](Self::device_endpoint) answers, for a framework whose routes are
    /// mounted: the first as it is, the second with one more segment at its end. Returns `None` if sessions are not
    /// bound to devices.
    #[must_use]
    pub fn device_paths(&self) -> Option<[&str; 2]> {
        let devices = self.devices()?;
        devices.set_answered();
        let settings = &devices.settings;
        Some([&settings.path, &settings.refresh_path])
    }
}

#[cfg(all(test, feature = "device"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::{DeviceBound, Keyring, MemoryStore, ResponseHeaders};

    struct Head;

    impl RequestHead for Head {
        fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

        fn method(&self) -> &'static str {
            "POST"
        }
    }

    #[derive(Default)]
    struct Names(Vec<&'static str>);

    impl ResponseHeaders for Names {
        fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

        fn append(&mut self, name: &'static str, _: &str, _: bool) {
            self.0.push(name);
        }

        fn set(&mut self, _: &'static str, _: &'static str) {}

        fn remove(&mut self, _: &'static str) {}
    }

    /// Returns `true` if the response to a login offers to bind its session.
    async fn offers(manager: &SessionManager) -> bool {
        let request = manager.begin();
        request.session(&Head).await.unwrap().login("alice").unwrap();
        let (reply, mut names) = (request.finish(200).await.unwrap(), Names::default());
        reply.apply(&mut names);
        names.0.contains(&"secure-session-registration")
    }

    #[tokio::test]
    async fn nothing_is_offered_until_an_adapter_answers_browsers() {
        let builder = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new());
        let manager = builder.device_bound(DeviceBound::new()).build().unwrap();
        assert!(!offers(&manager).await);
        assert!(manager.device_endpoint(&Head, "/").is_none(), "a layer asks about every request");
        assert!(offers(&manager).await);
    }
}
