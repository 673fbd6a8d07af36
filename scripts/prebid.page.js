// A publisher's page: Prebid.js asks for a bid through its prebidServer adapter and shows it in a frame.
import pbjs from "prebid.js";
import "prebid.js/modules/prebidServerBidAdapter.js";

const unit = {
    code: "top",
    mediaTypes: { banner: { sizes: [[300, 250]] } },
    // this page is on http, and so is what it shows
    ortb2Imp: { secure: 0 },
    bids: [{ bidder: "tessera", params: { campaign: "next-horizon", price: "1.50", currency: "USD" } }],
};

function say(what) {
    document.getElementById("said").textContent = what;
    document.body.dataset.state = what;
}

pbjs.processQueue?.();
pbjs.setConfig({
    bidderTimeout: 5000,
    ortb2: {
        user: { buyeruid: "demo-young-buyer" },
        device: { geo: { country: "USA", region: "CO" } },
    },
    s2sConfig: [{
        accountId: "publisher",
        enabled: true,
        bidders: ["tessera"],
        timeout: 4000,
        adapter: "prebidServer",
        // on another origin, which the service allows; the script that bundles this page says where
        endpoint: { p1Consent: ENDPOINT, noP1Consent: ENDPOINT },
    }],
});
pbjs.addAdUnits([unit]);
pbjs.requestBids({
    bidsBackHandler: () => {
        const [bid] = pbjs.getHighestCpmBids("top");
        if (!bid) return say("no bid");
        const frame = document.getElementById("ad");
        frame.width = bid.width;
        frame.height = bid.height;
        pbjs.onEvent("adRenderFailed", (why) => say(`not shown: ${why.message}`));
        pbjs.onEvent("adRenderSucceeded", () =>
            say(`Prebid.js ${pbjs.version} shows ${bid.bidderCode}, ${bid.cpm.toFixed(2)} ${bid.currency}, ` +
                `${bid.width}x${bid.height}, creative ${bid.creativeId}`));
        pbjs.renderAd(frame.contentDocument, bid.adId);
    },
});
