// The chosen appearance, before the first paint.
"use strict";
const chosen = localStorage.getItem("charkha.theme");
if (chosen) document.documentElement.dataset.theme = chosen;
