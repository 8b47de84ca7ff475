// A one-time link carries its token behind "#", which no server and no log ever sees: hand it over at once.
"use strict";
const token = location.hash.slice(1);
if (token) {
  history.replaceState(null, "", location.pathname + location.search);
  document.getElementById("credential").value = token;
  document.getElementById("sign-in").requestSubmit();
}
