// The network, run by onnxruntime-web: on a graphics processor where the browser offers WebGPU, else on WebAssembly.
"use strict";

let session; // a promise: loaded once, at the start

async function loadNetwork() {
  const gpu = await navigator.gpu?.requestAdapter().catch(() => null);
  const choices = gpu ? ["webgpu", "wasm"] : ["wasm"];
  for (const provider of choices) {
    try {
      return { provider, run: await start(provider) };
    } catch (problem) {
      if (provider === choices.at(-1)) throw problem;
    }
  }
}

async function start(provider) {
  await script(`runtime-${provider}.js`);
  ort.env.wasm.numThreads = 1; // more need a host that isolates the page
  ort.env.wasm.wasmBinary = await unpacked(BINARY);
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([GLUE], { type: "text/javascript" })) };
  return ort.InferenceSession.create(await unpacked(MODEL), { executionProviders: [provider] });
}

function script(address) {
  return new Promise((loaded, failed) => {
    const element = Object.assign(document.createElement("script"), { src: address });
    element.onload = loaded;
    element.onerror = () => failed(new Error(`${address} is missing beside index.html`));
    document.head.append(element);
  });
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Two pictures of one size -> ImageData in the colours of the visible one.
async function fuse(ir, vis) {
  const { run } = await session;
  const shape = [1, 1, vis.height, vis.width];
  const feeds = { ir: new ort.Tensor("float32", luminance(ir), shape), vis: new ort.Tensor("float32", luminance(vis), shape) };
  const { fused } = await run.run(feeds);
  const result = recoloured(await fused.getData(), vis);
  for (const tensor of [fused, feeds.ir, feeds.vis]) tensor.dispose();
  return result;
}
