(function (w, d) {
  var s = d.currentScript, at = new URL(s.src), q = at.searchParams, f = d.createElement("iframe"), end;
  var size = shape(q.get("size")), wait = +q.get("timeout_ms"), backup = q.get("backup") || "";
  if (!(wait >= 50 && wait <= 10000)) wait = 400;
  function shape(text) { return /^(\d{1,4})x(\d{1,4})(,|$)/.exec(text || ""); }
  function fit(e, to) { if (to) { e.width = to[1]; e.height = to[2]; } }
  function stop() { clearTimeout(end); w.removeEventListener("message", hear); }
  function instead() {
    stop();
    if (/^https?:\/\//.test(backup)) {
      var i = new Image();
      i.alt = "";
      fit(i, size);
      i.src = backup;
      f.parentNode.insertBefore(i, f);
    }
    f.remove();
  }
  function hear(e) {
    if (e.source !== f.contentWindow || !e.data || typeof e.data.tessera !== "string") return;
    var told = shape(e.data.tessera);
    if (!told) return instead();
    stop();
    if (+told[1]) fit(f, told);
  }
  try {
    var user = w.tessera && w.tessera.user && !q.get("user_token") ? w.tessera.user() : {};
    Object.keys(user).forEach(function (name) { q.set(name, user[name]); });
  } catch (e) {}
  at.pathname = at.pathname.replace(/\.js$/, ".html");
  f.title = "Advertisement";
  f.scrolling = "no";
  f.style.border = 0;
  f.setAttribute("sandbox", "allow-scripts allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation");
  fit(f, size || [0, 0, 0]);
  if (q.get("shadow") === "1") f.style.display = "none";
  else {
    w.addEventListener("message", hear);
    end = setTimeout(instead, wait);
  }
  f.src = at.href;
  s.parentNode.insertBefore(f, s.nextSibling);
})(window, document);
