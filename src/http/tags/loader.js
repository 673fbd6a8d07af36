(function (w, d) {
	var s = d.currentScript, at = new URL(s.src), q = at.searchParams, f = d.createElement("iframe"), end, asked = 1;
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
	// a platform that does not answer is a no
	function ask(api, names, no, call) {
		if (typeof w[api] !== "function" || names.some(name => /^[^$%]/.test(q.get(name) || ""))) return;
		function tell(all) { names.forEach((name, n) => all[n] ? q.set(name, all[n]) : q.delete(name)); }
		tell(no);
		asked++;
		try {
			call(all => {
				tell(all);
				if (call) call = go();
			});
		} catch (e) {}
	}
	function go() { if (!--asked) load(); }
	function load() {
		if (f.src) return;
		// what one platform says of the GDPR is not undone by another
		var sid = q.get("gpp_sid");
		if (q.get("gdpr") === "1" && /[1-9]/.test(sid)) q.set("gpp_sid", sid + ",2");
		try {
			var user = w.tessera && w.tessera.user && !q.get("user_token") ? w.tessera.user() : {};
			Object.keys(user).forEach(name => q.set(name, user[name]));
		} catch (e) {}
		f.src = at.href;
	}
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
	s.parentNode.insertBefore(f, s.nextSibling);
	if (w.navigator.globalPrivacyControl) q.set("gpc", 1);
	ask("__tcfapi", ["gdpr", "gdpr_consent"], [1], tell => {
		w.__tcfapi("addEventListener", 2, (t, ok) => {
			if (ok && t) tell([t.gdprApplies === false ? "0" : 1, t.tcString]);
		});
	});
	ask("__gpp", ["gpp", "gpp_sid"], ["-"], tell => {
		w.__gpp("addEventListener", (e, ok) => {
			var p = e && e.pingData || e || 0, said = [p.gppString, (p.applicableSections || []).join()];
			if (ok && !/^(not ready)?$/.test(p.signalStatus || said.join(""))) tell(said);
		});
	});
	ask("__uspapi", ["us_privacy"], ["-"], tell => {
		w.__uspapi("getUSPData", 1, (u, ok) => { if (ok && u && u.uspString) tell([u.uspString]); });
	});
	setTimeout(load, wait / 2);
	go();
})(window, document);
