(function (w, d) {
	var s = d.currentScript, key = s.getAttribute("data-key"), base = new URL(s.src).origin, q = [], asked = {}, consent = {};
	var vendor = 0, sid = [], stores = false, eu = false, out = false;
	function hex(n) {
		return Array.from(crypto.getRandomValues(new Uint8Array(n)), b => (b + 256).toString(16).slice(1)).join("");
	}
	function id() {
		var name = "tessera_id", v = null;
		try { v = localStorage.getItem(name); } catch (e) {}
		if (!/^[0-9a-f]{32}$/.test(v || "")) {
			v = hex(16);
			try { localStorage.setItem(name, v); } catch (e) {}
		}
		return v;
	}
	function opted(o) {
		return Object(o) === o && Object.keys(o).some(k =>
			/OptOut(Sale)?$/.test(k) && /1|Y/.test(o[k]) || k === "Gpc" && o[k] || opted(o[k]));
	}
	function ready() { return !(asked.tcf | asked.gpp | asked.usp); }
	function allowed() { return ready() && !out && !/^1.Y/i.test(consent.us_privacy) && (stores || !eu && !consent.gdpr); }
	function who() {
		var token = s.getAttribute("data-user-token");
		return token ? { user_token: token } : allowed() ? { visitor: id() } : {};
	}
	function flush() {
		if (!ready() || !q.length) return;
		var events = q.splice(0, 50), person = who(), now = new Date().toISOString();
		events.forEach(e => e.sent_at = now);
		if (!Object.keys(person)[0]) return void (q = []);
		// one platform does not undo the GDPR of another
		consent.gpp_sid = consent.gdpr && /[1-9]/.test(sid) ? sid.concat(2) : sid;
		var body = JSON.stringify(Object.assign({ events: events, consent: consent }, person));
		var url = base + "/v1/e?key=" + encodeURIComponent(key);
		if (!(navigator.sendBeacon && navigator.sendBeacon(url, body)))
			fetch(url, { method: "POST", body: body, keepalive: true, credentials: "omit" });
		flush();
	}
	w.tessera = {
		track: function (type, properties) {
			if (q.length < 100) q.push({ id: hex(8), type: type, at: new Date().toISOString(), properties: properties || {} });
			flush();
		},
		user: who
	};
	if (navigator.globalPrivacyControl) consent.gpc = out = true;
	if (w.__tcfapi && (asked.tcf = 1)) w.__tcfapi("addEventListener", 2, (t, ok) => {
		if (!ok || t.eventStatus === "cmpuishown") return;
		if (t.tcString) consent.tcf = t.tcString;
		consent.gdpr = t.gdprApplies !== false;
		stores = t.purpose && t.vendor && t.purpose.consents[1] && t.vendor.consents[vendor];
		flush(asked.tcf = 0);
	});
	if (w.__gpp && (asked.gpp = 1)) w.__gpp("addEventListener", (e, ok) => {
		var p = e && e.pingData || e || 0, ids = p.applicableSections || [], sections = p.parsedSections || {};
		if (!ok || /^(not ready)?$/.test(p.signalStatus || [p.gppString, ids].join(""))) return;
		if (p.gppString) consent.gpp = p.gppString;
		sid = ids;
		eu = sections.tcfeuv2 || sid.indexOf(2) >= 0;
		out = consent.gpc || opted(sections);
		flush(asked.gpp = 0);
	});
	if (w.__uspapi && (asked.usp = 1)) w.__uspapi("getUSPData", 1, (u, ok) => {
		if (ok && u && (consent.us_privacy = u.uspString)) flush(asked.usp = 0);
	});
})(window, document);
