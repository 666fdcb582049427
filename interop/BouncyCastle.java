// Opens and writes S/MIME with Bouncy Castle's mail classes, as interop/bouncycastle.py asks: one request a line, fields parted
// by tabs, one line of answer, "ok" or what was thrown.
//   open    MESSAGE OUT ROOT signed|unsigned [READER KEY]
//   sign    ENTITY OUT ISSUER SIGNER KEY ALGORITHM clear|opaque
//   encrypt ENTITY OUT CIPHER (READER pkcs1|oaep|OID-OF-KEY-AGREEMENT)...
import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.MGF1ParameterSpec;
import java.util.*;
import javax.crypto.spec.*;
import javax.mail.*;
import javax.mail.internet.*;
import org.bouncycastle.asn1.*;
import org.bouncycastle.asn1.cms.*;
import org.bouncycastle.asn1.pkcs.*;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.*;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.mail.smime.*;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.*;
import org.bouncycastle.util.Store;

public class BouncyCastle {
    public static void main(String[] given) throws Exception {
        BouncyCastleProvider provider = new BouncyCastleProvider();
        Security.addProvider(provider);
        System.out.println(provider.getVersionStr());
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = requests.readLine()) != null;) {
            String[] request = line.split("\t");
            try {
                byte[] answer = answer(request);
                Files.write(Paths.get(request[2]), answer);
                System.out.println("ok");
            } catch (Exception error) {
                System.out.println(words(error));
            }
        }
    }

    static byte[] answer(String[] request) throws Exception {
        switch (request[0]) {
            case "open": return open(request);
            case "sign": return sign(request);
            default: return encrypt(request);
        }
    }

    static String words(Throwable error) {
        while (error.getCause() != null && error.getCause() != error)
            error = error.getCause();
        return (error.getClass().getSimpleName() + ": " + error.getMessage()).replace('\n', ' ');
    }

    static byte[] open(String[] request) throws Exception {
        MimePart part = new MimeMessage((Session) null, new FileInputStream(request[1]));
        if (request.length > 5)
            part = SMIMEUtil.toMimeBodyPart(decrypted(part, certificate(request[5]), key(request[6])));
        if (request[4].equals("signed"))
            part = verified(part, certificate(request[3]));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        part.writeTo(out);
        return out.toByteArray();
    }

    static byte[] decrypted(MimePart part, X509Certificate reader, PrivateKey key) throws Exception {
        boolean authenticated = "authEnveloped-data".equalsIgnoreCase(new ContentType(part.getContentType()).getParameter("smime-type"));
        boolean transported = key.getAlgorithm().equals("RSA");
        RecipientId id = transported ? new JceKeyTransRecipientId(reader) : new JceKeyAgreeRecipientId(reader);
        RecipientInformationStore readers = authenticated  // this version's mail classes know no AuthEnvelopedData
            ? new CMSAuthEnvelopedData(part.getInputStream()).getRecipientInfos()
            : new SMIMEEnveloped(new MimeBodyPart(raw(part))).getRecipientInfos();
        Recipient recipient = !transported ? new JceKeyAgreeEnvelopedRecipient(key)  // the one class for agreed keys, tag or not
            : authenticated ? new JceKeyTransAuthEnvelopedRecipient(key) : new JceKeyTransEnvelopedRecipient(key);
        RecipientInformation found = readers.get(id);
        if (found == null)
            throw new CMSException("no RecipientInfo for " + reader.getSubjectX500Principal());
        return found.getContent(recipient);
    }

    static InputStream raw(MimePart part) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        part.writeTo(out);
        return new ByteArrayInputStream(out.toByteArray());
    }

    static MimePart verified(MimePart part, X509Certificate root) throws Exception {
        SMIMESigned signed = part.isMimeType("multipart/signed") ? new SMIMESigned((MimeMultipart) part.getContent()) : new SMIMESigned(part);
        Store<X509CertificateHolder> certificates = signed.getCertificates();
        for (SignerInformation signer : signed.getSignerInfos()) {
            X509Certificate certificate = new JcaX509CertificateConverter().getCertificate(
                (X509CertificateHolder) certificates.getMatches(signer.getSID()).iterator().next());
            PKIXBuilderParameters path = new PKIXBuilderParameters(
                Set.of(new TrustAnchor(root, null)), new JcaX509CertSelectorConverter().getCertSelector(signer.getSID()));
            path.addCertStore(new JcaCertStoreBuilder().setProvider("BC").addCertificates(certificates).build());
            path.setRevocationEnabled(false);
            CertPathBuilder.getInstance("PKIX", "BC").build(path);
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(certificate)))
                throw new CMSException("the signature does not verify");
        }
        return signed.getContent();
    }

    static byte[] sign(String[] request) throws Exception {
        X509Certificate signer = certificate(request[4]);
        SMIMESignedGenerator generator = new SMIMESignedGenerator(SMIMESignedGenerator.RFC5751_MICALGS);
        generator.addSignerInfoGenerator(new JcaSimpleSignerInfoGeneratorBuilder().setProvider("BC").build(request[6], key(request[5]), signer));
        generator.addCertificates(new JcaCertStore(List.of(signer, certificate(request[3]))));
        MimeBodyPart entity = new MimeBodyPart(new FileInputStream(request[1]));
        if (request[7].equals("opaque"))
            return written(generator.generateEncapsulated(entity));
        MimeMultipart multipart = generator.generate(entity);
        MimeBodyPart outer = new MimeBodyPart();
        outer.setContent(multipart);
        outer.setHeader("Content-Type", multipart.getContentType());
        return written(outer);
    }

    static byte[] encrypt(String[] request) throws Exception {
        ASN1ObjectIdentifier cipher = (ASN1ObjectIdentifier) CMSAlgorithm.class.getField(request[3]).get(null);
        OutputEncryptor encryptor = new JceCMSContentEncryptorBuilder(cipher).setProvider("BC").build();
        List<RecipientInfoGenerator> readers = new ArrayList<>();
        for (int i = 4; i < request.length; i += 2)
            readers.add(reader(certificate(request[i]), request[i + 1]));
        MimeBodyPart entity = new MimeBodyPart(new FileInputStream(request[1]));
        if (encryptor instanceof OutputAEADEncryptor)
            return authenticated(readers, Files.readAllBytes(Paths.get(request[1])), (OutputAEADEncryptor) encryptor);
        SMIMEEnvelopedGenerator generator = new SMIMEEnvelopedGenerator();
        readers.forEach(generator::addRecipientInfoGenerator);
        return written(generator.generate(entity, encryptor));
    }

    static byte[] authenticated(List<RecipientInfoGenerator> readers, byte[] entity, OutputAEADEncryptor encryptor) throws Exception {
        CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
        readers.forEach(generator::addRecipientInfoGenerator);
        byte[] structure = generator.generate(new CMSProcessableByteArray(entity), encryptor).getEncoded();
        String head = "Content-Type: application/pkcs7-mime; smime-type=authEnveloped-data; name=smime.p7m\r\n"
            + "Content-Transfer-Encoding: base64\r\n\r\n";
        return (head + Base64.getMimeEncoder().encodeToString(structure) + "\r\n").getBytes();
    }

    static RecipientInfoGenerator reader(X509Certificate reader, String how) throws Exception {
        if (how.equals("pkcs1"))
            return new JceKeyTransRecipientInfoGenerator(reader).setProvider("BC");
        if (how.equals("oaep")) {
            OAEPParameterSpec oaep = new OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, PSource.PSpecified.DEFAULT);
            AlgorithmIdentifier name = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, oaep);
            return new JceKeyTransRecipientInfoGenerator(reader, name).setProvider("BC");
        }
        PublicKey key = new JcaX509CertificateConverter().setProvider("BC").getCertificate(new JcaX509CertificateHolder(reader)).getPublicKey();
        KeyPairGenerator keys = KeyPairGenerator.getInstance(key.getAlgorithm(), "BC");
        if (key instanceof java.security.interfaces.ECKey)
            keys.initialize(((java.security.interfaces.ECKey) key).getParams());
        KeyPair sender = keys.generateKeyPair();
        return new JceKeyAgreeRecipientInfoGenerator(new ASN1ObjectIdentifier(how), sender.getPrivate(), sender.getPublic(),
            CMSAlgorithm.AES256_WRAP).addRecipient(reader).setProvider("BC");
    }

    static byte[] written(MimeBodyPart part) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        part.writeTo(out);
        return out.toByteArray();
    }

    static X509Certificate certificate(String path) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", "BC").generateCertificate(new FileInputStream(path));
    }

    static PrivateKey key(String path) throws Exception {
        try (PEMParser parser = new PEMParser(new FileReader(path))) {
            return new JcaPEMKeyConverter().setProvider("BC").getPrivateKey((PrivateKeyInfo) parser.readObject());
        }
    }
}
