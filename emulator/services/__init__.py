"""The provider's own services as a CVM meets them: metadata, DNS and NTP. They read the cloud and know no fabric."""
