// Messages of Bouncy Castle 1.72 (Debian: libbcmail-java) for the keys beside them. Run in this folder:
//   java -cp /usr/share/java/bcprov.jar:/usr/share/java/bcpkix.jar:/usr/share/java/bcutil.jar Make.java
import java.io.*;
import java.nio.file.*;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Security;
import java.security.cert.*;
import java.security.spec.ECGenParameterSpec;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.Time;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.jcajce.*;
import javax.crypto.spec.*;

public class Make {
    static final byte[] TEXT = "Content-Type: text/plain\r\n\r\nResult: all well.\r\n".getBytes();
    static X509Certificate reader;

    public static void main(String[] given) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        reader = certificate("reader.pem");
        agreed();
        Files.write(Paths.get("ed25519-content.p7s"), signed());
        ASN1ObjectIdentifier[] ccms = {CMSAlgorithm.AES128_CCM, CMSAlgorithm.AES192_CCM, CMSAlgorithm.AES256_CCM};
        ASN1ObjectIdentifier[] gcms = {CMSAlgorithm.AES128_GCM, CMSAlgorithm.AES192_GCM, CMSAlgorithm.AES256_GCM};
        for (int i = 0; i < ccms.length; i++) {
            write("ccm" + (128 + 64 * i), whole(ccms[i], false));
            write("ccm" + (128 + 64 * i) + "-attributes", whole(ccms[i], true));
            write("gcm" + (128 + 64 * i) + "-attributes", whole(gcms[i], true));
        }
        for (String digest : new String[] {"SHA-1", "SHA-224", "SHA-256", "SHA-384", "SHA-512"})
            for (String mask : new String[] {"SHA-1", "SHA-256"})
                write("oaep-" + (digest + "-mgf1-" + mask).toLowerCase().replace("sha-", "sha"), enveloped(recipient(digest, mask)));
    }

    static void agreed() throws Exception {
        String[] digests = {"sha1", "sha224", "sha256", "sha384", "sha512"};
        ASN1ObjectIdentifier[] schemes = {CMSAlgorithm.ECDH_SHA1KDF, CMSAlgorithm.ECDH_SHA224KDF, CMSAlgorithm.ECDH_SHA256KDF,
            CMSAlgorithm.ECDH_SHA384KDF, CMSAlgorithm.ECDH_SHA512KDF};
        ASN1ObjectIdentifier[] wraps = {CMSAlgorithm.AES128_WRAP, CMSAlgorithm.AES192_WRAP, CMSAlgorithm.AES256_WRAP};
        X509Certificate to = certificate("agreeing.pem");
        KeyPairGenerator keys = KeyPairGenerator.getInstance("EC", "BC");
        keys.initialize(new ECGenParameterSpec("brainpoolP384r1"));
        for (int i = 0; i < schemes.length; i++) {
            KeyPair sender = keys.generateKeyPair();
            write("ecdh-" + digests[i] + "-ukm", enveloped(new JceKeyAgreeRecipientInfoGenerator(schemes[i], sender.getPrivate(),
                sender.getPublic(), wraps[i % 3]).addRecipient(to).setUserKeyingMaterial("material".getBytes()).setProvider("BC")));
        }
    }

    static byte[] signed() throws Exception { // over the content itself, without signed attributes
        PrivateKeyInfo key = (PrivateKeyInfo) new PEMParser(new FileReader("signing.key")).readObject();
        ContentSigner signer = new JcaContentSignerBuilder("Ed25519").setProvider("BC").build(new JcaPEMKeyConverter().getPrivateKey(key));
        JcaSignerInfoGeneratorBuilder how = new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().build());
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        generator.addSignerInfoGenerator(how.setDirectSignature(true).build(signer, certificate("signing.pem")));
        generator.addCertificate(new JcaX509CertificateHolder(certificate("signing.pem")));
        return generator.generate(new CMSProcessableByteArray(TEXT), true).getEncoded();
    }

    static X509Certificate certificate(String name) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", "BC").generateCertificate(new FileInputStream(name));
    }

    static RecipientInfoGenerator recipient(String digest, String mask) throws Exception {
        if (digest == null)
            return new JceKeyTransRecipientInfoGenerator(reader).setProvider("BC");
        OAEPParameterSpec how = new OAEPParameterSpec(digest, "MGF1", new java.security.spec.MGF1ParameterSpec(mask),
            new PSource.PSpecified("label".getBytes()));
        AlgorithmIdentifier name = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, how);
        return new JceKeyTransRecipientInfoGenerator(reader, name).setProvider("BC");
    }

    static byte[] enveloped(RecipientInfoGenerator recipient) throws Exception {
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        generator.addRecipientInfoGenerator(recipient);
        return generator.generate(new CMSProcessableByteArray(TEXT),
            new JceCMSContentEncryptorBuilder(CMSAlgorithm.AES256_CBC).setProvider("BC").build()).getEncoded();
    }

    static byte[] whole(ASN1ObjectIdentifier cipher, boolean attributes) throws Exception {
        CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
        generator.addRecipientInfoGenerator(recipient(null, null));
        if (attributes) {
            ASN1EncodableVector several = new ASN1EncodableVector();
            several.add(new Attribute(PKCSObjectIdentifiers.pkcs_9_at_signingTime, new DERSet(new Time(new java.util.Date(0)))));
            several.add(new Attribute(CMSAttributes.contentType, new DERSet(CMSObjectIdentifiers.data)));
            generator.setAuthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(new AttributeTable(several)));
        }
        return generator.generate(new CMSProcessableByteArray(TEXT), encryptor(cipher)).getEncoded();
    }

    static OutputAEADEncryptor encryptor(ASN1ObjectIdentifier cipher) throws Exception {
        return (OutputAEADEncryptor) new JceCMSContentEncryptorBuilder(cipher).setProvider("BC").build();
    }

    static void write(String name, byte[] data) throws Exception {
        Files.write(Paths.get(name + ".p7m"), data);
    }
}
