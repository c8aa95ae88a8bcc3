// The ceremonies: the server's challenge goes to the authenticator, whose answer goes back to the server.

async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body ?? null),
  });
  const text = await response.text();
  if (!response.ok) throw Object.assign(new Error(text), { status: response.status });
  return text && JSON.parse(text);
}

async function register() {
  const { publicKey } = await post("/register/start", { name: document.getElementById("name").value });
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey);
  await post("/register/finish", await navigator.credentials.create({ publicKey: options }));
}

async function answer(path, body) {
  const { publicKey } = await post(`${path}/start`, body);
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
  await post(`${path}/finish`, await navigator.credentials.get({ publicKey: options }));
}

const actions = {
  register,
  login: () => answer("/login", { name: document.getElementById("name").value }),
  logout: () => post("/logout"),
  close: async () => {
    try {
      await post("/close");
    } catch (error) {
      if (error.status !== 403) throw error;
      // The last authentication is too long ago.
      await answer("/confirm");
      await post("/close");
    }
  },
};

for (const [id, action] of Object.entries(actions)) {
  document.getElementById(id)?.addEventListener("click", async () => {
    try {
      await action();
      location.reload();
    } catch (error) {
      document.getElementById("problem").textContent = error.message;
    }
  });
}
