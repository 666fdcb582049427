// What thunderbird.py asks of Thunderbird, run inside it. Each function answers with what JSON can say.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { MimeMessage } = ChromeUtils.importESModule("resource:///modules/MimeMessage.sys.mjs");
const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);

function file(path) {
  const found = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  found.initWithPath(path);
  return found;
}

// Believes the authority (DER in base64) and takes the keys. Gives the files it would not take.
function prepare(root, bundles, passphrase) {
  certificates.addCertFromBase64(root, "C,C,C");
  return bundles.filter(bundle => certificates.importPKCS12File(file(bundle), passphrase) !== Ci.nsIX509CertDB.Success);
}

// Opens a message as a double click on its file does, and waits until its tab shows all there is to say.
async function show(path) {
  const tabs = window.document.getElementById("tabmail");
  const uri = Services.io.newFileURI(file(path)).mutate().setQuery("type=application/x-message-display").finalize();
  const tab = tabs.openTab("mailMessageTab", { messageURI: uri.spec });
  const pane = await loaded(tab.chromeBrowser);
  if (pane.gReceivedSignatureCount < pane.gExpectedSignatureCount) {
    await new Promise(resolve => pane.addEventListener("smimeprocessed", resolve, { once: true }));
  }
  const content = pane.getMessagePaneBrowser().contentDocument;
  if (content && content.readyState !== "complete") {
    await new Promise(resolve => content.addEventListener("readystatechange", resolve, { once: true }));
  }
  const texts = content ? [...content.querySelectorAll(".moz-text-plain")] : [];
  const said = {
    signature: word(pane.gSignatureStatus),
    encryption: word(pane.gEncryptionStatus),
    subject: pane.currentHeaderData.subject.headerValue,
    page: content ? "" : pane.getMessagePaneBrowser().contentTitle,
    text: texts.map(each => each.textContent).join(""),
  };
  tabs.closeTab(tab);
  return said;
}

// The inner window of a tab once it has the message, or the page of its own that it shows in place of one it cannot decrypt.
// The first tab says that it has loaded before it has a message.
async function loaded(browser) {
  const instead = () => browser.contentWindow.getMessagePaneBrowser().currentURI.schemeIs("data");
  do {
    await new Promise(resolve => {
      browser.addEventListener("MsgLoaded", resolve, { once: true });
      browser.addEventListener("pagetitlechanged", resolve, { once: true });
    });
  } while (!instead() && !(browser.contentWindow.msgLoaded && browser.contentWindow.currentHeaderData.subject));
  return browser.contentWindow;
}

// The name of a status in nsICMSMessageErrors; "" where nothing was reported.
function word(status) {
  return Object.keys(Ci.nsICMSMessageErrors).find(name => Ci.nsICMSMessageErrors[name] === status) ?? "";
}

// Composes a message as its window does when "Send" is pressed, and gives it, in base64, in place of sending it. It is
// encrypted where there are readers.
async function compose(from, readers, subject, text, signed) {
  const identity = MailServices.accounts.createIdentity();
  identity.email = from;
  const secure = Cc["@mozilla.org/messengercompose/composesecure;1"].createInstance(Ci.nsIMsgComposeSecure);
  if (signed) {
    secure.signMessage = true;
    identity.setCharAttribute("signing_cert_dbkey", keyOf(from));
  }
  if (readers.length) {
    secure.requireEncryptMessage = true;
    readers.forEach(reader => secure.cacheValidCertForEmail(reader, keyOf(reader)));
    identity.setCharAttribute("encryption_cert_dbkey", keyOf(readers[0])); // it wants one of its own to encrypt to as well
  }
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  const to = readers.join(",") || "somebody@hospital.example";
  Object.assign(fields, { from, to, subject, composeSecure: secure });
  const now = Ci.nsIMsgSend.nsMsgDeliverNow;
  const message = new MimeMessage(identity, fields, "", "text/plain", text, now, "", Ci.nsIMsgCompType.New, [], null);
  const written = await message.createMessageFile();
  const bytes = await IOUtils.read(written.path);
  written.remove(false);
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
}

function keyOf(address) {
  const found = certificates.getCerts().find(each => each.emailAddress === address);
  if (!found) {
    throw new Error(`no certificate of ${address}`);
  }
  return found.dbKey;
}
