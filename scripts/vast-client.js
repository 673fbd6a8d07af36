// What a player reads in the tags of the demo. Run by scripts/vast-client.
"use strict";
const assert = require("node:assert/strict");
const { VASTClient } = require("@dailymotion/vast-client");

const base = process.argv[2];
const tags = `${base}/v1/tags/default`;
const steps = ["start", "firstQuartile", "midpoint", "thirdQuartile", "complete"];

/** What became of a beacon. */
async function told(url) {
  return (await fetch(url, { redirect: "manual" })).headers.get("tessera-outcome");
}

async function read(path) {
  const errors = [];
  const client = new VASTClient();
  client.getParser().on("VAST-error", (error) => errors.push(error));
  const answer = await client.get(`${tags}/${path}`);
  return { ads: answer.ads, version: answer.version, errors };
}

async function plays(version, path) {
  const { ads, version: said, errors } = await read(`${path}?v=${version}`);
  assert.equal(said, version);
  assert.deepEqual(errors, []);
  assert.equal(ads.length, 1);
  const [ad] = ads;
  assert.equal(ad.system.value, "Tessera");
  assert.equal(ad.title, "Find your next horizon");
  const linear = ad.creatives.find((creative) => creative.type === "linear");
  assert.equal(linear.duration, 15);
  assert.equal(linear.skipDelay, version === "2.0" ? -1 : 5);
  assert.deepEqual(linear.mediaFiles.map((file) => [file.mimeType, file.height]),
    [["video/mp4", 1080], ["video/mp4", 720], ["video/webm", 720]]);
  assert.ok(linear.mediaFiles.every((file) => file.fileURL.startsWith("https://video.larkfell.example/")));
  assert.deepEqual(Object.keys(linear.trackingEvents), steps);
  const companions = ad.creatives.find((creative) => creative.type === "companion").variations;
  assert.deepEqual(companions.map((one) => [Number(one.width), Number(one.height)]), [[300, 250], [728, 90]]);
  assert.ok(companions.every((one) => one.htmlResources[0].includes("Find your next horizon")));
  if (version >= "4") {
    const ids = linear.universalAdIds;
    assert.equal(ids[0].idRegistry, "larkfell.example");
    assert.ok(ids[0].value.startsWith("trail-film."), ids[0].value);
  }
  // whatever a player is told to tell is counted, once
  const counted = [ad.impressionURLTemplates[0].url, ...steps.map((step) => linear.trackingEvents[step][0]),
    linear.videoClickTrackingURLTemplates[0].url, ad.errorURLTemplates[0].replace("[ERRORCODE]", "405")];
  for (const url of counted) {
    assert.equal(await told(url), "recorded", url);
    assert.equal(await told(url), "duplicate", url);
  }
  const click = await fetch(linear.videoClickThroughURLTemplate.url, { redirect: "manual" });
  assert.deepEqual([click.status, click.headers.get("location")], [302, "https://shop.larkfell.example/new"]);
  console.log(`VAST ${version} ${path}: ${linear.mediaFiles.length} files, ${companions.length} companions, ` +
    `${counted.length + 1} addresses counted`);
}

(async () => {
  for (const version of ["2.0", "3.0", "4.0", "4.1", "4.2"]) {
    await plays(version, "show-preroll.xml");
    await plays(version, "c/trail-film.xml");
    const nothing = await read(`show-preroll.xml?v=${version}&max_duration_ms=1000`);
    assert.equal(nothing.ads.length, 0);
    console.log(`VAST ${version} without an ad: read`);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
