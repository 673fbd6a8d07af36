(function (w, d) {
  var s = d.currentScript, key = s.getAttribute("data-key"), base = new URL(s.src).origin, q = [], asked = 0, consent = {};
  function id() {
    var name = "tessera_id", v = null;
    try { v = localStorage.getItem(name); } catch (e) {}
    if (!/^[0-9a-f]{32}$/.test(v || "")) {
      v = Array.from(crypto.getRandomValues(new Uint8Array(16)), function (b) { return (b + 256).toString(16).slice(1); }).join("");
      try { localStorage.setItem(name, v); } catch (e) {}
    }
    return v;
  }
  function ask(done) {
    var left = 2, end = setTimeout(function () { consent.gdpr = true; finish(); }, 1000), over = false;
    function finish() { if (!over) { over = true; clearTimeout(end); done(); } }
    function one() { if (!--left) finish(); }
    if (navigator.globalPrivacyControl) consent.gpc = true;
    if (w.__tcfapi) w.__tcfapi("addEventListener", 2, function (t, ok) {
      if (ok && t.eventStatus !== "cmpuishown") {
        if (t.gdprApplies !== undefined) consent.gdpr = !!t.gdprApplies;
        if (t.tcString) consent.tcf = t.tcString;
        one();
      }
    }); else one();
    if (w.__gpp) w.__gpp("ping", function (p, ok) {
      if (ok && p) { if (p.gppString) consent.gpp = p.gppString; if (p.applicableSections) consent.gpp_sid = p.applicableSections; }
      one();
    }); else one();
  }
  function allowed() { return asked === 2 && !consent.gdpr && !consent.tcf && !consent.gpp && !consent.gpc; }
  function who() {
    var token = s.getAttribute("data-user-token");
    return token ? { user_token: token } : allowed() ? { visitor: id() } : {};
  }
  function flush() {
    if (asked !== 2 || !q.length) return;
    var events = q.splice(0, 50), person = who(), now = new Date().toISOString();
    events.forEach(function (e) { e.sent_at = now; });
    if (!person.visitor && !person.user_token) return;
    var body = JSON.stringify(Object.assign({ events: events, consent: consent }, person));
    var url = base + "/v1/e?key=" + encodeURIComponent(key);
    if (!(navigator.sendBeacon && navigator.sendBeacon(url, body)))
      fetch(url, { method: "POST", body: body, keepalive: true, credentials: "omit" });
    flush();
  }
  w.tessera = {
    track: function (type, properties) {
      var r = Array.from(crypto.getRandomValues(new Uint8Array(8)), function (b) { return b.toString(36); }).join("");
      q.push({ id: r, type: type, at: new Date().toISOString(), properties: properties || {} });
      flush();
    },
    user: who
  };
  asked = 1;
  ask(function () { asked = 2; flush(); });
})(window, document);
