// Messages of Bouncy Castle 1.72 (Debian: libbcmail-java) for the keys beside them. Run in this folder:
//   java -cp /usr/share/java/bcprov.jar:/usr/share/java/bcpkix.jar:/usr/share/java/bcutil.jar Make.java
import java.io.*;
import java.nio.file.*;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Security;
import java.security.cert.*;
import java.security.spec.ECGenParameterSpec;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cms.*;
import org.bouncycastle.cms.jcajce.*;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;
import javax.crypto.spec.*;

public class Make {
    static final byte[] TEXT = "Content-Type: text/plain\r\n\r\nResult: all well.\r\n".getBytes();
    static X509Certificate reader;

    public static void main(String[] given) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        reader = certificate("reader.pem");
        agreed();
        ASN1ObjectIdentifier[] ccms = {CMSAlgorithm.AES128_CCM, CMSAlgorithm.AES192_CCM, CMSAlgorithm.AES256_CCM};
        for (int i = 0; i < ccms.length; i++) {
            CMSAuthEnvelopedDataGenerator whole = new CMSAuthEnvelopedDataGenerator();
            whole.addRecipientInfoGenerator(recipient(null, null));
            write("ccm" + (128 + 64 * i), whole.generate(new CMSProcessableByteArray(TEXT), encryptor(ccms[i])).getEncoded());
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

    static OutputAEADEncryptor encryptor(ASN1ObjectIdentifier cipher) throws Exception {
        return (OutputAEADEncryptor) new JceCMSContentEncryptorBuilder(cipher).setProvider("BC").build();
    }

    static void write(String name, byte[] data) throws Exception {
        Files.write(Paths.get(name + ".p7m"), data);
    }
}
